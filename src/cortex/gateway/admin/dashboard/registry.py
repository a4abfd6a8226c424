"""Every page and every action of the dashboard, pages in the order of the navigation."""

from cortex.gateway.admin.dashboard.activity_list import look_at_activity, show_request
from cortex.gateway.admin.dashboard.decision_list import look_at_decisions
from cortex.gateway.admin.dashboard.fleet_page import look_at_fleet
from cortex.gateway.admin.dashboard.history_page import look_at_history, read_history
from cortex.gateway.admin.dashboard.key_action import (
    create_key,
    revoke_key,
    rotate_key,
    show_key,
    show_key_use,
    show_new_key,
)
from cortex.gateway.admin.dashboard.key_list import look_at_keys
from cortex.gateway.admin.dashboard.log_page import follow_log, look_at_logs
from cortex.gateway.admin.dashboard.model_action import load, pin, show_load, show_pin, show_unload, unload
from cortex.gateway.admin.dashboard.model_page import look_at_model, look_at_models
from cortex.gateway.admin.dashboard.node_action import drain, show_drain, show_undrain, undrain
from cortex.gateway.admin.dashboard.page import Action, Page
from cortex.gateway.admin.dashboard.playground_page import look_at_playground
from cortex.gateway.admin.dashboard.usage_sheet import export_usage, look_at_usage

PAGES: tuple[Page, ...] = (
    Page(name="fleet", path="", title="Fleet", menu="Fleet", look=look_at_fleet, every_s=1.0),
    Page(name="models", path="models", title="Models", menu="Models", look=look_at_models, every_s=1.0),
    Page(name="model", path="models/one", title="Model", look=look_at_model, every_s=2.0),
    Page(name="activity", path="activity", title="Activity", menu="Activity", look=look_at_activity, every_s=1.0),
    Page(name="history", path="history", title="History", menu="History", look=look_at_history, every_s=10.0),
    Page(name="decisions", path="decisions", title="Decisions", menu="Decisions", look=look_at_decisions, every_s=1.0),
    Page(name="playground", path="playground", title="Playground", menu="Playground", look=look_at_playground),
    Page(name="logs", path="logs", title="Logs", menu="Logs", look=look_at_logs),
    Page(name="keys", path="keys", title="Keys", menu="Keys", look=look_at_keys, every_s=2.0),
    Page(name="usage", path="usage", title="Usage", menu="Usage", look=look_at_usage),
)

ACTIONS: tuple[Action, ...] = (
    Action("GET", "activity/one", show_request, "A request"),
    Action("GET", "history/data", read_history),
    Action("GET", "logs/stream", follow_log),
    Action("GET", "keys/new", show_new_key, "Make a key"),
    Action("POST", "keys/new", create_key, "Make a key"),
    Action("GET", "keys/one", show_key, "A key"),
    Action("GET", "keys/use", show_key_use, "Limits of a key"),
    Action("POST", "keys/revoke", revoke_key, "Revoke a key"),
    Action("POST", "keys/rotate", rotate_key, "Rotate a key"),
    Action("GET", "usage/export", export_usage),
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
