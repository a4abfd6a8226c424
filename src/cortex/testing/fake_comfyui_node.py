"""The nodes that the fake ComfyUI knows, and its check of a workflow before it takes it.

The formats and words are those of ComfyUI's ``/object_info`` and ``validate_prompt``, read in 2026-11.
"""

from typing import Any, Literal, NamedTuple

Kind = Literal["INT", "FLOAT", "STRING", "COMBO", "LINK"]
Problem = dict[str, Any]


class Input(NamedTuple):
    """One input of a node; ``wants`` is the type of a link, ``options`` are those of a choice."""

    kind: Kind
    least: float = 0
    most: float = 0
    wants: str = ""
    options: tuple[str, ...] = ()


class Node(NamedTuple):
    """One class of nodes."""

    inputs: dict[str, Input]
    outputs: tuple[str, ...] = ()
    is_output: bool = False


def link(wants: str) -> Input:
    """Return an input that another node's output goes to."""
    return Input("LINK", wants=wants)


def catalogue(checkpoints: tuple[str, ...]) -> dict[str, Node]:
    """Return the classes of nodes by name."""
    text, side = Input("STRING"), Input("INT", 16, 16384)
    return {
        "CheckpointLoaderSimple": Node({"ckpt_name": Input("COMBO", options=checkpoints)}, ("MODEL", "CLIP", "VAE")),
        "CLIPTextEncode": Node({"text": text, "clip": link("CLIP")}, ("CONDITIONING",)),
        "EmptyLatentImage": Node({"width": side, "height": side, "batch_size": Input("INT", 1, 4096)}, ("LATENT",)),
        "KSampler": Node(
            {
                "model": link("MODEL"),
                "positive": link("CONDITIONING"),
                "negative": link("CONDITIONING"),
                "latent_image": link("LATENT"),
                "seed": Input("INT", 0, 0xFFFFFFFFFFFFFFFF),
                "steps": Input("INT", 1, 10000),
                "cfg": Input("FLOAT", 0, 100),
                "sampler_name": Input("COMBO", options=("euler", "dpmpp_2m")),
                "scheduler": Input("COMBO", options=("normal", "karras")),
                "denoise": Input("FLOAT", 0, 1),
            },
            ("LATENT",),
        ),
        "VAEDecode": Node({"samples": link("LATENT"), "vae": link("VAE")}, ("IMAGE",)),
        "SaveImage": Node({"images": link("IMAGE"), "filename_prefix": text}, is_output=True),
        "PreviewImage": Node({"images": link("IMAGE")}, is_output=True),
    }


def described(name: str, node: Node, *, is_v3: bool) -> dict[str, Any]:
    """Return a class as ``/object_info`` has it; ``is_v3``: choices in the form of newer nodes."""
    required = {key: _form(wanted, is_v3=is_v3) for key, wanted in node.inputs.items()}
    return {
        "input": {"required": required},
        "input_order": {"required": list(required)},
        "output": list(node.outputs),
        "name": name,
        "display_name": name,
        "output_node": node.is_output,
    }


def check(prompt: dict[str, Any], nodes: dict[str, Node]) -> dict[str, Any] | None:
    """Return the answer to a workflow that is not taken, None for one that is."""
    for key, node in prompt.items():
        class_type = node.get("class_type")
        if class_type not in nodes:
            words = f"Node '{class_type}' not found. The custom node may not be installed."
            info = {"node_id": key, "class_type": class_type, "node_title": class_type}
            return _refusal("missing_node_type", words, f"Node ID '#{key}'", info)
    outputs = [key for key, node in prompt.items() if nodes[node["class_type"]].is_output]
    if not outputs:
        return _refusal("prompt_no_outputs", "Prompt has no outputs", "", {})
    faults = {key: list(_faults(node, prompt, nodes)) for key, node in prompt.items()}
    told = {
        key: {"errors": found, "dependent_outputs": outputs, "class_type": prompt[key]["class_type"]}
        for key, found in faults.items()
        if found
    }
    if not told:
        return None
    return _refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation", "", {}, told)


def _faults(node: dict[str, Any], prompt: dict[str, Any], nodes: dict[str, Node]) -> list[Problem]:
    found = []
    for name, wanted in nodes[node["class_type"]].inputs.items():
        value = node.get("inputs", {}).get(name)
        if value is None:
            found.append(_problem("required_input_missing", "Required input is missing", name, name))
        elif isinstance(value, list):
            found += _link_faults(name, wanted, value, prompt, nodes)
        elif wanted.kind != "LINK":
            found += _value_faults(name, wanted, value)
    return found


def _link_faults(
    name: str, wanted: Input, value: list[Any], prompt: dict[str, Any], nodes: dict[str, Node]
) -> list[Problem]:
    if len(value) != 2:
        words = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return [_problem("bad_linked_input", words, name, name)]
    has = nodes[prompt[value[0]]["class_type"]].outputs[value[1]]
    if wanted.kind == "LINK" and has != wanted.wants:
        details = f"{name}, received_type({has}) mismatch input_type({wanted.wants})"
        return [_problem("return_type_mismatch", "Return type mismatch between linked nodes", details, name)]
    return []


def _value_faults(name: str, wanted: Input, value: Any) -> list[Problem]:
    if wanted.kind in ("INT", "FLOAT"):
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            words = f"Failed to convert an input value to a {wanted.kind} value"
            return [_problem("invalid_input_type", words, f"{name}, {value}, {error}", name)]
        if number < wanted.least:
            words = f"Value {value} smaller than min of {wanted.least}"
            return [_problem("value_smaller_than_min", words, name, name)]
        if number > wanted.most:
            return [_problem("value_bigger_than_max", f"Value {value} bigger than max of {wanted.most}", name, name)]
    if wanted.kind == "COMBO" and value not in wanted.options:
        details = f"{name}: {value!r} not in {list(wanted.options)}"
        return [_problem("value_not_in_list", "Value not in list", details, name)]
    return []


def _problem(kind: str, words: str, details: str, name: str) -> Problem:
    return {"type": kind, "message": words, "details": details, "extra_info": {"input_name": name}}


def _refusal(
    kind: str, words: str, details: str, info: dict[str, Any], nodes: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "error": {"type": kind, "message": words, "details": details, "extra_info": info},
        "node_errors": nodes or {},
    }


def _form(wanted: Input, *, is_v3: bool) -> list[Any]:
    if wanted.kind == "COMBO":
        return ["COMBO", {"options": list(wanted.options)}] if is_v3 else [list(wanted.options), {}]
    if wanted.kind == "LINK":
        return [wanted.wants]
    return [wanted.kind, {"min": wanted.least, "max": wanted.most}]
