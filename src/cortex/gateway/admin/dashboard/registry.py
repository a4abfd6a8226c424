"""Every page and every action of the dashboard, pages in the order of the navigation."""

from cortex.gateway.admin.dashboard.decision_list import look_at_decisions
from cortex.gateway.admin.dashboard.fleet_page import look_at_fleet
from cortex.gateway.admin.dashboard.model_action import load, pin, show_load, show_pin, show_unload, unload
from cortex.gateway.admin.dashboard.model_page import look_at_model, look_at_models
from cortex.gateway.admin.dashboard.node_action import drain, show_drain, show_undrain, undrain
from cortex.gateway.admin.dashboard.page import Action, Page

PAGES: tuple[Page, ...] = (
    Page(name="fleet", path="", title="Fleet", menu="Fleet", look=look_at_fleet, every_s=1.0),
    Page(name="models", path="models", title="Models", menu="Models", look=look_at_models, every_s=1.0),
    Page(name="model", path="models/one", title="Model", look=look_at_model, every_s=2.0),
    Page(name="decisions", path="decisions", title="Decisions", menu="Decisions", look=look_at_decisions, every_s=1.0),
)

ACTIONS: tuple[Action, ...] = (
    Action("GET", "models/load", show_load, "Load a model"),
    Action("POST", "models/load", load, "Load a model"),
    Action("GET", "models/unload", show_unload, "Unload a model"),
    Action("POST", "models/unload", unload, "Unload a model"),
    Action("GET", "models/pin", show_pin, "Pin a model"),
    Action("POST", "models/pin", pin, "Pin a model"),
    Action("GET", "nodes/drain", show_drain, "Drain a node"),
    Action("POST", "nodes/drain", drain, "Drain a node"),
    Action("GET", "nodes/undrain", show_undrain, "Take a node back"),
    Action("POST", "nodes/undrain", undrain, "Take a node back"),
)
