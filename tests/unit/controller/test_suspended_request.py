"""A request for a suspended resource is not waited for in silence."""

import pytest

from mailtls.api.resource import Request
from mailtls.api.resource_view import progress
from mailtls.kube.resource_views import view


def _resource(*, suspend: bool) -> dict[str, object]:
    return {
        "metadata": {"namespace": "mail", "name": "mx"},
        "spec": {"dnsNames": ["mx.example.com"], "suspend": suspend},
    }


@pytest.mark.parametrize("wanted", Request)
def test_request_for_a_suspended_resource_ends_with_what_to_do(wanted: Request) -> None:
    """Waiting ends at once, and the sentence names the field that holds the operator back."""
    found = progress(view(_resource(suspend=True)), wanted, "now")
    assert found.came_true is False
    assert found.sentence == "mail/mx is suspended: the operator handles the request when spec.suspend is false."


@pytest.mark.parametrize("wanted", Request)
def test_request_for_a_resource_at_work_is_waited_for(wanted: Request) -> None:
    """Without suspension the request is not yet decided."""
    assert progress(view(_resource(suspend=False)), wanted, "now").came_true is None
