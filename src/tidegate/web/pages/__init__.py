"""The pages: each module has the endpoints of one subject."""

from tidegate.web.endpoints import Endpoint
from tidegate.web.pages import (
    availability,
    compare,
    flow,
    overview,
    plots,
    products,
    releases,
    requests,
    runs,
    timeline,
)

ENDPOINTS: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for module in (
        overview,
        flow,
        availability,
        runs,
        timeline,
        products,
        compare,
        plots,
        releases,
        requests,
    )
    for endpoint in module.ENDPOINTS
}
"""All pages, by name, in the order of the navigation."""
