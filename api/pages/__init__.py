"""The HTML face, rendered on the server: every page is complete without JavaScript."""

from fastapi import APIRouter

from api.pages.embeds import add_embeds
from api.pages.network import add_network
from api.pages.ranking import add_ranking
from api.pages.reference import add_reference
from api.pages.shell import Site
from api.pages.statics import add_statics
from api.pages.use import add_uses


def build_pages(site: Site) -> APIRouter:
    """All pages, their pictures and files."""
    router = APIRouter(include_in_schema=False)
    add_embeds(router, site)
    add_ranking(router, site)
    add_uses(router, site)
    add_reference(router, site)
    add_network(router, site)
    add_statics(router)
    return router
