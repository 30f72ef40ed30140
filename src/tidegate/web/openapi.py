"""The description of the JSON API, in OpenAPI 3.1, made from the endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tidegate import __version__
from tidegate.web.endpoints import Endpoint


def describe_api(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The description as a JSON document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": __version__,
            "description": "Runs, products and their quality. Times are ISO 8601 in UTC.",
        },
        "paths": {_path(endpoint): {"get": _operation(endpoint)} for endpoint in endpoints},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _ERROR},
        },
        "security": [{}, {"token": []}],
    }


def api_path(endpoint: Endpoint) -> str:
    """Where an endpoint is in the API."""
    return "/api" + (f"/{endpoint.name}" if endpoint.path == "/" else endpoint.path)


def _path(endpoint: Endpoint) -> str:
    return re.sub(r":path\}", "}", api_path(endpoint))


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    problems = {
        "400": "A parameter cannot be used.",
        "401": "The token is missing.",
        "404": "There is nothing with that name.",
    }
    return {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [
            {
                "name": parameter.name,
                "in": "path" if parameter.within_path else "query",
                "required": parameter.within_path,
                "description": parameter.about,
                "schema": {"type": "string"},
            }
            for parameter in endpoint.parameters
        ],
        "responses": {
            "200": {
                "description": endpoint.summary,
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **{
                status: {
                    "description": about,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                    },
                }
                for status, about in problems.items()
            },
        },
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "description": "What happened."},
        "why": {"type": "string", "description": "Why."},
        "next": {"type": "string", "description": "What to do."},
    },
}
