"""The dashboard: pages for operators at ``/dashboard/``, made here and sent whole. No build step, no other host.

How a page is added:

1. ``template/<name>.html`` extends ``base.html`` and fills its block ``body`` with what stays; block ``script`` is for
   more scripts (``{{ static("uPlot.iife.min.js") }}`` is the address of a file). What changes goes into
   ``template/<name>_live.html``: only elements, each that can come and go with an ``id``.
2. A function ``async def look(desk: Desk, query: Query) -> dict`` returns what both templates are filled with. It is
   given what the URL asks (``?model=…``) and nothing of who asks: what is live is rendered once for all who look.
   What a page asks that is not in ``page.Desk`` yet becomes a field there; ``gateway/dashboard_opening.py`` fills it.
3. One line in ``registry.PAGES``. ``{% include "live.html" %}`` puts the live part into the page. With ``every_s`` it
   is rendered again every so often while anybody looks, and sent when it is otherwise (``live.py``); it is morphed
   into place, so that focus, and what is opened, stay as they are (``hx-morph-skip`` on what scripts have drawn).
   What is many times on it, or changes alone, is one ``{{ kept("<template>", name, value) }}``: rendered anew only
   when the value is otherwise, and sent alone. Live templates begin with ``{% import "macro.html" as ui %}``.
4. What does something is an ``Action`` in ``registry.ACTIONS``: ``async def act(desk, call) -> Reply``. A POST gets
   there only from our own pages and with their token:
   ``<input type="hidden" name="token" value="{{ token }}">`` inside the form, or the header ``x-cortex-token`` (scripts
   find it in ``<body data-token>``). Whatever a button is to do is a link to a GET that shows what would happen, and
   has the form (``ui.dialog_link``): scripts open it in the dialog, and without them it is a page like any other.
   A refusal is raised as a CortexError; the frame shows it.

Text in templates is escaped; nothing is ever marked as safe. Scripts and styles come from ``static/`` only (the
browser is told so): no ``style=…``, no ``onclick``, no ``<script>`` with content. Bars are SVG (``macro.html``).
"""
