"""The pages: each module has the endpoints of one subject."""

from tidegate.web.endpoints import Endpoint
from tidegate.web.pages import availability, overview, plots, products, releases, requests, runs

ENDPOINTS: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for module in (overview, availability, runs, products, plots, releases, requests)
    for endpoint in module.ENDPOINTS
}
"""All pages, by name, in the order of the navigation."""
