"""Every page and every action of the dashboard, pages in the order of the navigation."""

from cortex.gateway.admin.dashboard.fleet_page import look_at_fleet
from cortex.gateway.admin.dashboard.page import Action, Page

PAGES: tuple[Page, ...] = (Page(name="fleet", path="", title="Fleet", menu="Fleet", look=look_at_fleet, every_s=1.0),)

ACTIONS: tuple[Action, ...] = ()
