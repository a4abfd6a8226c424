"""What stands in for other programs refuses what would lead nowhere on a real host, and lets right words through."""

import pytest
from tests.arch.source import ROOT
from tests.docs.exception import STOOD_IN
from tests.docs.fleet import Fleet, copy_of_packaging
from tests.docs.host import Host
from tests.integration.gateway.real_fleet import Neuron

WRONG = {
    "sudo -u nobodys true": "no package makes a user nobodys",
    "sudo -i": "-i is unknown",
    "sudo false": "",
    "chown cortex:cortx packaging": "no package makes ['cortx']",
    "chown cortex nowhere": "is not there",
    "systemctl enable --now cortexx": "no package has cortexx.service",
    "systemctl enable --new cortex": "--new is unknown",
    "systemctl enable mistralrs@.socket": "no package has",
    "systemctl kill --signal=SIGUSR3 cortex": "SIGUSR3",
    "systemctl mend cortex": "mend is unknown",
    "journalctl -u cortexx": "no package has",
    "docker run --rm cortex-gateway check": "KeyError",
    "docker run -v nowhere.toml:/etc/x cortex check": "is not there",
    "firewall-cmd --permanent --add-service=cortex-nothing": "no package has a service",
    "firewall-cmd --add-port=1/tcp": "is unknown",
    "apt install libgomp2": "libgomp2",
    "dnf install cortex-gateway": "cortex-gateway",
    "dnf downgrade cortex": "want the code of their own version",
    "dnf copr enable somebody/cortex": "packages are built in",
    "pipx upgrade cortex-gateway": "upgrade is unknown",
    "uv pip install cortex-gateway": "is unknown",
    "copr-cli modify somebody/cortex --runtime-repo-dependency https://a.example/x86_64": "packages are built in",
    "copr-cli edit-chroot grenade/cortex/fedora-1-x86_64 --repos https://a.example/x86_64": "nothing is built for",
    "docker build -t cortex -f packaging/container/nothing.Containerfile .": "nothing.Containerfile",
    "docker build -t other -f packaging/container/gateway.Containerfile .": "another name",
    "docker build -t cortex -f packaging/container/gateway.Containerfile --build-arg BAES=x .": "nothing asks for BAES",
    "docker compose -f packaging/container/compose.yaml --profile mysql up": "is none of",
    "docker compose -f packaging/container/compose.yaml exec gate cortex version": "no service gate",
    "CORTEX_PUBLISHED=1 docker compose -f packaging/container/compose.yaml up": "nothing reads",
    "kubectl -n default apply -k packaging/kubernetes": "everything is in cortex",
    "kubectl -n cortex create secret generic cortex-store --from-literal=uri=x": "nobody asks for uri",
    "kubectl -n cortex create secret generic cortex-store --from-literal=url=": "the secret is empty",
    "kubectl -n cortex rollout status deployment/cortex": "none of that name",
    "kubectl -n cortex exec deploy/gateway -- cortex version": "none of that name",
    "kubectl -n cortex port-forward service/cortex 8000:81": "it has",
    "kubectl get nodes -l gpu=true -o json": "AssertionError",
    "kubectl apply -k packaging": "kustomization.yaml",
    "ansible-playbook -i packaging/ansible/inventory/example.yml packaging/ansible/none.yml": "none.yml",
    "ANTHROPIC_BASE_URL=http://127.0.0.1:9 ANTHROPIC_AUTH_TOKEN=x ANTHROPIC_MODEL=coder claude": "refused",
    "OPENAI_API_BASE=http://127.0.0.1:9/v1 OPENAI_API_KEY=none aider --model coder": "AssertionError",
    "open-webui serve": "OPENAI_API_BASE_URL",
    "codex": "config.toml",
    "opencode run hello": "opencode.json",
    "cn -p hello --config config.yaml": "config.yaml",
}


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A place to run commands, without a gateway that answers."""
    folder = tmp_path_factory.mktemp("folder")
    copy_of_packaging(folder)
    nobody = Neuron("http://127.0.0.1:9")
    return Fleet(folder, Host(tmp_path_factory.mktemp("root")), nobody, folder / "model.gguf", 9, 9)


@pytest.mark.parametrize("text", WRONG)
def test_words_that_lead_nowhere_are_refused(text: str, it: Fleet) -> None:
    said = it.run(text, {}, (1,))
    assert WRONG[text] in said


def test_each_has_something_that_it_refuses() -> None:
    assert {name for name in STOOD_IN if not any(f"{name} " in f"{text} " for text in WRONG)} == set()


@pytest.mark.parametrize(
    "text",
    [
        "sudo -u cortex-neuron true && sudo chown root:cortex packaging",
        "sudo systemctl enable cortex.socket",
        "docker compose -f packaging/container/compose.yaml -f packaging/container/compose.gpu.yaml up --detach",
        "cd packaging/ansible && ansible-playbook -i inventory/example.yml upgrade.yml",
    ],
)
def test_right_words_are_let_through(text: str, it: Fleet) -> None:
    it.run(text, {})


def test_a_unit_is_really_enabled(it: Fleet) -> None:
    it.run("systemctl enable --now cortex", {})
    units = it.host.root / "usr/lib/systemd/system"
    assert (units / "cortex.service").read_text() == (ROOT / "packaging/systemd/cortex.service").read_text()


def test_what_a_container_or_a_pod_would_run_is_run(it: Fleet) -> None:
    for before in (
        "docker compose -f packaging/container/compose.yaml exec gateway",
        "kubectl exec deploy/cortex-gateway --",
    ):
        assert it.run(f"{before} cortex --version", {}).startswith("cortex ")
        it.run(f"{before} cortex versoin", {}, (2,))
