"""Draws the pictures of the page about concepts, light or dark as the reader's system is.

``python docs/picture/draw.py`` writes them beside this file, ``--print`` prints them as JSON, by name.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

HERE = Path(__file__).parent

STYLE = """
  text { font: 14px "DejaVu Sans", Verdana, sans-serif; fill: #1f2933 }
  .small { font-size: 12px; fill: #52606d } .strong { font-weight: bold }
  .middle { text-anchor: middle } .end { text-anchor: end }
  .page { fill: #ffffff } .line { stroke: #9fb0c0; stroke-width: 1 } .dash { stroke-dasharray: 4 4 }
  .box { stroke-width: 1.5 } .plain { fill: #eef2f6; stroke: #9fb0c0 } .gateway { fill: #e4eefa; stroke: #1f5fa8 }
  .neuron { fill: #fbf3dc; stroke: #8a6d1b } .engine { fill: #e8f3ea; stroke: #3c7a4b }
  .gone { fill: #f8e6e4; stroke: #a8402f }
  .data { stroke: #1f5fa8; stroke-width: 2 } .control { stroke: #8a6d1b; stroke-width: 1.5; stroke-dasharray: 6 4 }
  .data-head { fill: #1f5fa8 } .control-head { fill: #8a6d1b }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6ebf0 } .small { fill: #aab6c2 } .page { fill: #1b2027 } .line { stroke: #56626e }
    .plain { fill: #2a323b; stroke: #66727e } .gateway { fill: #1d2f45; stroke: #6ba4e8 }
    .neuron { fill: #3a3118; stroke: #d2b25a } .engine { fill: #1d3524; stroke: #6fbf84 }
    .gone { fill: #412522; stroke: #e08a7c }
    .data { stroke: #6ba4e8 } .control { stroke: #d2b25a } .data-head { fill: #6ba4e8 } .control-head { fill: #d2b25a }
  }
"""

HEADS = "".join(
    f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
    f'markerUnits="userSpaceOnUse" orient="auto"><path class="{kind}-head" d="M0 0 10 5 0 10z"/></marker>\n'
    for kind in ("data", "control")
)


def picture(width: int, height: int, label: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"\n'
        f'     aria-label="{escape(label)}">\n'
        f"<style>{STYLE}</style>\n<defs>\n{HEADS}</defs>\n"
        f'<rect class="page" width="{width}" height="{height}" rx="10"/>\n{body}\n</svg>\n'
    )


def words(x: float, y: float, said: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(said)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, *lines: str) -> str:
    """Return a box; its first line is what it is, the others are small."""
    middle, top = x + width / 2, y + height / 2 - 8 * (len(lines) - 1) + 5
    said = (
        words(middle, top + 16 * number, line, "middle strong" if not number else "middle small")
        for number, line in enumerate(lines)
    )
    return f'<rect class="box {kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>' + "".join(
        said
    )


def arrow(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<path class="{kind}" fill="none" marker-end="url(#{kind})" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'


Step = tuple[str, str, str, str]
"""Kind (``data``, ``control``, or ``note``), from, to, words; a note stands at ``from``."""


def sequence(label: str, lanes: dict[str, str], steps: list[Step]) -> str:
    """Draw who says what to whom, from top to bottom. ``lanes``: names and their colours, from left to right."""
    width, gap, row = 900, 900 / len(lanes), 44
    height = 84 + row * len(steps)
    at = {lane: gap * (number + 0.5) for number, lane in enumerate(lanes)}

    def parts() -> Iterator[str]:
        for lane, kind in lanes.items():
            yield f'<path class="line dash" d="M{at[lane]:g} 56V{height - 14}"/>'
            yield box(at[lane] - 80, 18, 160, 38, kind, lane)
        for number, (kind, source, target, said) in enumerate(steps):
            y = 96 + row * number
            if kind == "note":
                half = 3.6 * len(said) + 16
                middle = min(max(at[source], half + 8), width - half - 8)
                yield box(middle - half, y - 16, 2 * half, 30, lanes[source])
                yield words(middle, y + 4, said, "middle small")
            else:
                yield words((at[source] + at[target]) / 2, y - 7, said, "middle small")
                yield arrow(at[source], y, at[target], y, kind)

    return picture(width, height, label, parts())


def request() -> str:
    return sequence(
        "A request goes to the gateway and from there straight to an engine; the answer comes back chunk by chunk.",
        {"client": "plain", "gateway": "gateway", "engine on node a": "engine", "engine on node b": "engine"},
        [
            ("data", "client", "gateway", "POST /v1/chat/completions"),
            ("note", "gateway", "", "who asks? which model is “coder”? which instance has a slot free?"),
            ("data", "gateway", "engine on node a", "the same bytes"),
            ("note", "engine on node a", "", "dies before it has said a word"),
            ("data", "gateway", "engine on node b", "the same request, to another instance"),
            ("data", "engine on node b", "gateway", "data: {…}"),
            ("data", "gateway", "client", "data: {…}, at once"),
            ("data", "engine on node b", "gateway", "data: [DONE]"),
            ("data", "gateway", "client", "data: [DONE]"),
            ("note", "gateway", "", "slot given back; metrics, access log, usage"),
        ],
    )


def load() -> str:
    return sequence(
        "A model that is nowhere loaded: the gateway plans, the neuron makes room and starts it, the request waits.",
        {"client": "plain", "gateway": "gateway", "neuron": "neuron", "engines": "engine"},
        [
            ("data", "client", "gateway", "a model that is nowhere loaded"),
            ("note", "gateway", "", "plan: which node, which devices, who would have to go"),
            ("control", "gateway", "neuron", "POST /models/load, with victims"),
            ("note", "neuron", "", "reserves the memory, or refuses and says what is missing"),
            ("control", "neuron", "engines", "idle one: drained, stopped"),
            ("note", "neuron", "", "memory is seen to be free"),
            ("control", "neuron", "engines", "new one: started, watched"),
            ("data", "gateway", "client", ": loading on beast, 40 %"),
            ("control", "engines", "neuron", "ready"),
            ("control", "neuron", "gateway", "event: loaded"),
            ("data", "gateway", "engines", "the request that has waited, and all others for this model"),
            ("data", "engines", "client", "the answer, through the gateway"),
        ],
    )


BESIDES = [("", 4, "plain"), ("stranger", 10, "gone"), ("A: pinned", 26, "engine"), ("B: busy", 20, "engine")]
"""What stays as it is: the headroom first. Words, percent of the device, colour."""

TURNOVER = {
    "before: D is asked for, and needs 38 % of the device": [("C: idle", 32, "engine"), ("free", 8, "page")],
    "reserved for D: what is free, and what C still holds": [("C: draining", 32, "gone"), ("", 8, "neuron")],
    "after: the memory was seen free, D has it": [("D: loading, then loaded", 38, "gateway"), ("", 2, "page")],
}


def memory() -> str:
    """Draw one device before, during and after an eviction."""

    def parts() -> Iterator[str]:
        for number, (title, shares) in enumerate(TURNOVER.items()):
            x, y = 30.0, 40 + 104 * number
            yield words(x, y - 10, title, "strong")
            for said, share, kind in (*BESIDES, *shares):
                width = share * 8.4
                yield f'<rect class="box line {kind}" x="{x:g}" y="{y}" width="{width:g}" height="48"/>'
                yield words(x + width / 2, y + 29, said, "middle small") if said else ""
                x += width
        never = "pinned, busy, waited for, loading, just loaded (protected), silent"
        yield words(30, 336, f"Never victims: {never}. All victims go, or none.", "small")

    return picture(900, 354, "Memory of one device while one model makes room for another.", parts())


def gateways() -> str:
    """Draw two gateways before two nodes."""

    hosts = ((60, "beast"), (530, "benjy"))

    def parts() -> Iterator[str]:
        for x, name in hosts:
            yield f'<rect class="box plain" x="{x}" y="256" width="310" height="120" rx="7"/>'
            yield words(x + 290, 276, name, "strong end")
        for start, end in ((190, 120), (310, 590), (590, 180), (680, 650)):
            yield arrow(start, 162, end, 288, "control")
        for start, end in ((240, 270), (720, 750)):
            yield arrow(start, 162, end, 288, "data")
        for start, end in ((350, 383), (550, 517)):
            yield arrow(start, 133, end, 133, "control")
        yield box(350, 16, 200, 40, "plain", "balancer, or one port")
        yield box(385, 100, 130, 66, "plain", "store", "claims · keys", "limits · usage")
        for x, name in ((150, "gateway 1"), (550, "gateway 2")):
            yield arrow(450, 56, x + 100, 102, "data")
            yield box(x, 104, 200, 58, "gateway", name, "queues · relay · plan")
        for x, _ in hosts:
            yield box(x + 16, 290, 124, 66, "neuron", "neuron", "memory · slots")
            yield box(x + 168, 290, 124, 66, "engine", "coder", "4 at a time")
        shares = "Of the four slots of an instance gateway 1 has three, say, and gateway 2 has one: its neuron"
        yield words(60, 402, shares, "small")
        yield words(60, 419, "hands them out, calls idle ones back, and gives them to who waits.", "small")

    return picture(900, 434, "Gateways agree through the neurons and a store; they never talk to each other.", parts())


PICTURES = {f"{draw.__name__}.svg": draw for draw in (request, load, memory, gateways)}


def main(argv: list[str]) -> None:
    made = {name: draw() for name, draw in PICTURES.items()}
    if argv == ["--print"]:
        print(json.dumps(made))
        return
    for name, text in made.items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
