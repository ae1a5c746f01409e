"""Whoever looks at a page, as pages know them: `dashboard_ui.visit.Caller`."""

import errno
import inspect
from collections.abc import Callable, Mapping, Sequence

from dashboard_ui.visit import Answer, Outage

from ..control import Result
from ..control.packed import Made
from ..control.text import shell_word
from .exchange import Visitor
from .interface import Api
from .operations import Value


class ApiCaller:
    """One visitor, for one request.

    Args:
        api: what does it.
        visitor: in whose name.
    """

    def __init__(self, api: Api, visitor: Visitor) -> None:
        self._api = api
        self._visitor = visitor

    @property
    def name(self) -> str:
        """Who it is."""
        return self._visitor.identity.name

    @property
    def role(self) -> str:
        """What they are."""
        return self._visitor.identity.role

    def call(self, command: str, arguments: Mapping[str, Value]) -> Answer:
        """Give a command; see `dashboard_ui.visit.Caller`."""
        return self._called(command, arguments, lambda: self._api.call(self._visitor, command, arguments))

    def call_if(self, command: str, arguments: Mapping[str, Value], tag: str) -> Answer:
        """Give a command where nothing was changed; see `dashboard_ui.visit.Caller`."""
        return self._called(
            command, arguments, lambda: self._api.call_if(self._visitor, command, arguments, tag)
        )

    def tag(self, command: str, arguments: Mapping[str, Value]) -> str:
        """What `call_if` takes; see `dashboard_ui.visit.Caller`."""
        return self._api.tag(self._visitor, command, arguments) if command in self._api.routes else ""

    def _called(self, command: str, arguments: Mapping[str, Value], given: Callable[[], Result]) -> Answer:
        route = self._api.routes.get(command)
        kinds = {each.name: each.kind for each in route.parameters} if route is not None else {}
        needed = {each.name for each in route.parameters if each.needed} if route is not None else set()
        fits = all(type(value) is kinds.get(name) for name, value in arguments.items())
        if route is None or not fits or not needed <= arguments.keys():
            return Answer(errno.EINVAL, f"{command} does not take that; nothing was changed")
        result = given()
        if result.answer is None:
            return Answer(result.code, result.status)
        shown = result.answer.simplified()
        value = {name: list(each) if isinstance(each, Made) else each for name, each in shown.items()}
        return Answer(result.code, result.status, value)

    def may(self, command: str) -> bool:
        """Tell whether the role allows a command."""
        return command in self._api.routes and self._api.may(self._visitor, command)

    def outages(self, command: str | None = None) -> Sequence[Outage]:
        """What does not work now; see `dashboard_ui.visit.Caller`."""
        found = self._api.outages(self._visitor, command)
        return [Outage(each.name, each.why, each.waits, each.works) for each in found]

    def line(self, command: str, arguments: Mapping[str, Value]) -> str:
        """Give the line of `ceph` that does the same."""
        words = ["ceph", "fscrypt", *command.split()]
        options = []
        positional = True
        for name in inspect.signature(self._api.routes[command].command).parameters:
            positional = positional and name != "_end_positional_"
            value = arguments.get(name)
            if value is None or value is False:
                # the words after one that is left out would take its place
                positional = positional and name == "self"
            elif value is True:
                options.append(f"--{name.replace('_', '-')}")
                positional = False
            elif positional:
                words.append(shell_word(str(value)))
            else:
                options += [f"--{name.replace('_', '-')}", shell_word(str(value))]
        return " ".join([*words, *options])
