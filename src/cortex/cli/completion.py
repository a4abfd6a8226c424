"""Shell completion: the scripts that a shell reads, and the names of models and nodes that a running gateway knows.

The scripts ask ``cortex`` itself, by typer's own protocol. Names are offered only if no shell finds anything in them to
act on. A gateway that cannot be asked, or not soon, is silence.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

DEADLINE_S = 0.5
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
SHELLS = ("bash", "zsh", "fish")

NEURON_WORDS = ("serve", "check", "doctor", "--config", "--port", "--version", "--help")

BASH = """\
# bash completion for cortex and cortex-neuron
_cortex() {
    local line=${COMP_LINE:0:COMP_POINT} current before
    local -a words
    read -r -a words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    local IFS=$'\\n'
    COMPREPLY=($(COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) _CORTEX_COMPLETE=complete_bash \\
        "$1" 2>/dev/null))
    # readline takes what stands before a colon or an equals sign for another word, which is there already
    before=${current%"${current##*[:=]}"}
    [[ -z $before ]] || COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o bashdefault -o default -F _cortex cortex

_cortex_neuron() {
    COMPREPLY=()
    [[ $3 == --config ]] || COMPREPLY=($(compgen -W "@NEURON@" -- "$2"))
}
complete -o bashdefault -o default -F _cortex_neuron cortex-neuron
"""
ZSH = """\
#compdef cortex cortex-neuron
# zsh completion for cortex and cortex-neuron
_cortex_neuron() {
    if [[ ${words[CURRENT-1]} == --config ]]; then _files; else compadd -- @NEURON@; fi
}
_cortex() {
    if [[ $service == cortex-neuron ]]; then _cortex_neuron; return; fi
    local said
    said=$(_TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _CORTEX_COMPLETE=complete_zsh ${words[1]} 2>/dev/null)
    if [[ -n $said ]]; then eval "$said"; else _files; fi
}
if [[ ${funcstack[1]} == _cortex ]]; then _cortex "$@"; else compdef _cortex cortex cortex-neuron; fi
"""
FISH = """\
# fish completion for cortex and cortex-neuron
function __cortex_ask
    env _CORTEX_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \\
        _TYPER_COMPLETE_ARGS=(commandline -cp | string collect) cortex 2>/dev/null
end
complete --command cortex --no-files --condition "__cortex_ask is-args" --arguments "(__cortex_ask get-args)"
complete --command cortex-neuron --arguments "@NEURON@"
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(shell: str) -> str:
    """Return what a shell reads to complete both programs."""
    return SCRIPTS[shell].replace("@NEURON@", " ".join(NEURON_WORDS))


def complete_model(ctx: Any, incomplete: str) -> list[str]:
    """Return ids and aliases of models that begin so."""
    models = _asked(ctx, "models")
    return _offered((name for model in models for name in (model["id"], *model["aliases"])), incomplete)


def complete_node(ctx: Any, incomplete: str) -> list[str]:
    """Return names of nodes that begin so."""
    return _offered((node["name"] for node in _asked(ctx, "nodes")), incomplete)


def complete_shell(incomplete: str) -> list[str]:
    """Return the shells that there are scripts for."""
    return [shell for shell in SHELLS if shell.startswith(incomplete)]


def _asked(ctx: Any, what: str) -> list[Mapping[str, Any]]:
    """Return a list of the gateway's, or nothing."""
    from cortex.cli.client import gateway
    from cortex.contract.error import CortexError

    root = ctx.find_root().params.get("key_file")
    env = {**os.environ, "CORTEX_API_KEY_FILE": str(root)} if root else os.environ
    try:
        found = gateway(str(ctx.params.get("url")), env, DEADLINE_S).get(f"/admin/v1/{what}", holds=(what,))[what]
    except CortexError:
        return []
    return found if isinstance(found, list) else []


def _offered(names: Any, incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete) and PLAIN_NAME.fullmatch(name)})
