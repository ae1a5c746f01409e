"""What each command answers: the classes of its answers, and how those are told that are not told by their fields.

`qa/unit/api` holds every answer that its tests get against the schemas that are made of this.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from ..control import (
    ActLine,
    ActPage,
    Applied,
    Declared,
    KeyLine,
    KeyPage,
    Overview,
    SubtreeDetail,
    SubtreePage,
    TenantLine,
    TenantPage,
    Verdict,
)
from ..control.access import AccessPage, Doors, Link, NewToken
from ..control.audience import ClientPage, Story
from ..control.client_lines import ClientLine
from ..control.destructions import DestructionPage
from ..control.eviction_answers import EndedStory, EvictionLine, EvictionPreview
from ..control.exposition import Exposition
from ..control.findings import Grade, Report
from ..control.follow_up import CreationStory
from ..control.gate_answers import GateLine, Preview
from ..control.history import Curves
from ..control.jobs import JobDetail, JobList
from ..control.key_managers import KmsPage
from ..control.node_bundles import NodeBundle
from ..control.rungs import RungPage
from ..control.scans import ScanLine, ScanLines
from ..control.service import ServiceReport
from ..control.sessions import SessionLine, SessionPage
from ..control.subtree_jobs import Begun
from ..messages.job import STATES, JobError, Option
from ..store import Ended, Identity
from .operations import Operation
from .shapes import ALL, ANYTHING, Record, Shape

_FILTERED = frozenset({"filtered"})
"""What a person is told, and a program knows."""
_SESSION: Mapping[str, Any] = {"session": int, "entity": str, "host": str, "software": str, "root": str}
_PREVIEWED: Mapping[str, Any] = {"fs_name": str, "path": str, "rung": str}
_LEFT_ALONE = Record("EntityLeftAlone", {"entity": str, "why": str})
_SPARED = Record("SessionLeftAlone", {**_SESSION, "why": str})
_DUE = Record("SessionDue", {**_SESSION, "why": str, "at": float, "anew": str})
_GATE = {
    **_PREVIEWED,
    "state": str,
    "namespace": str,
    "admitted": [str],
    "kept": [str],
    "open_paths": [str],
    "wanted": int,
    "applied": int,
    "trouble": str,
    "commands": [str],
    "untouched": [_LEFT_ALONE],
}
_EVICTION = {
    **_PREVIEWED,
    "state": str,
    "grace": int,
    "confirmed": int,
    "used": int,
    "spared_entities": [str],
    "gateways": [str],
    "wanted": int,
    "complete": int,
    "trouble": str,
    "due": [_DUE],
    "left_alone": [_SPARED],
    "ended": [Ended],
}
_JOB: Mapping[str, Any] = {
    "id": str,
    "kind": str,
    "fs_name": str,
    "path": str,
    "options": Mapping[str, Option],
    "state": {"type": "string", "enum": list(STATES)},
    "why": str,
    "since": float,
    "done": int,
    "total": int | None,
    "unit": str,
    "rate": float,
    "eta": float | None,
    "errors": [JobError],
    # each kind of jobs has its own (doc/service.md)
    "result": ANYTHING,
    "code": int | None,
    "created": float,
    "started": float | None,
    "ended": float | None,
}
_METRIC = Record(
    "Metric",
    {
        "name": str,
        "type": str,
        "help": str,
        "samples": [Record("MetricSample", {"labels": Mapping[str, str], "value": float})],
    },
)
_WISH: Mapping[str, Any] = {
    "fs_name": str,
    "key_identifier": str,
    "requested_by": str,
    "requested": int,
    "approved_by": str,
    "approved": int,
}

SHAPES: Mapping[type, Shape] = {
    ActLine: Shape("Act"),
    ActPage: Shape(without=_FILTERED),
    AccessPage: Shape(without=_FILTERED | {"identities"}, more={"access": [Identity]}),
    Begun: Shape("Creation"),
    ClientLine: Shape("LineForAClient"),
    ClientPage: Shape(without=_FILTERED),
    CreationStory: Shape(
        without=ALL, more={"creation": Record("CreationStage", get_type_hints(CreationStory))}
    ),
    Curves: Shape(
        "Curves",
        ALL,
        {
            "what": str,
            "unit": str,
            "of": str,
            "meaning": str,
            "since": int,
            "until": int,
            "step": int,
            "curves": [
                Record("Curve", {"about": str, "points": [Record("Point", {"at": int, "value": float})]})
            ],
        },
    ),
    Declared: Shape("ResourcePage", more={"resources": [ANYTHING]}, optional=frozenset({"following"})),
    DestructionPage: Shape(
        without=_FILTERED | {"wishes", "names"}, more={"destructions": [Record("Destruction", _WISH)]}
    ),
    EndedStory: Shape(more={"ended": [Record("EndedSession", {**get_type_hints(Ended), "fs_name": str})]}),
    EvictionLine: Shape("Eviction", ALL, _EVICTION),
    EvictionPreview: Shape(
        without=ALL,
        more={**_PREVIEWED, "due": [_DUE], "left_alone": [_SPARED], "confirmed": int, "age": float},
    ),
    Exposition: Shape("Metrics", ALL, {"metrics": [_METRIC]}),
    GateLine: Shape("Gate", ALL, _GATE),
    Identity: Shape("Access", frozenset({"proof"}), {"subject": str, "created_by": [str]}),
    JobDetail: Shape("Job", ALL, _JOB),
    JobList: Shape("JobPage", _FILTERED | {"names"}, {"jobs": [JobDetail]}),
    KeyLine: Shape(
        "Key",
        more={
            "protectors": [Record("KeyProtector", {"name": str, "kind": str, "created": int, "proven": int})]
        },
    ),
    KeyPage: Shape(without=_FILTERED),
    Preview: Shape(
        "GatePreview",
        ALL,
        {
            **_PREVIEWED,
            "commands": [str],
            "undo": [str],
            "untouched": [_LEFT_ALONE],
            "cut_off": [Record("SessionCutOff", {**_SESSION, "loses": str, "keeps": str})],
            "age": float,
        },
    ),
    Report: Shape("Examination", more={"worst": Grade}),
    RungPage: Shape(
        "GatePage",
        ALL,
        {
            "gates": [GateLine],
            "restore": [str],
            "age": float,
            "trouble": str,
            "evictions": [EvictionLine],
        },
        # of one path, where nothing keeps anybody out by caps
        frozenset({"restore", "age", "trouble"}),
    ),
    ScanLine: Shape(more={"mixed": Mapping[str, int]}),
    ScanLines: Shape("ScanPage", frozenset({"lines"}), {"subtrees": [ScanLine]}),
    Story: Shape(
        "ClientStory",
        more={
            "verdicts": [Record("ClientVerdict", {"path": str, "mode": str, "verdict": str, "reason": str})]
        },
    ),
    SessionLine: Shape("Session"),
    SessionPage: Shape(without=_FILTERED),
    SubtreePage: Shape(without=_FILTERED),
    TenantLine: Shape("Tenant", more={"due": int}),
    TenantPage: Shape(without=_FILTERED),
    Verdict: Shape("AuditVerdict"),
}
"""Classes that are not told by their names, or not by all of their fields and no others."""

_CLIENT = (ClientLine,)
"""What is left to a client."""
_BEGUN = (JobDetail, ClientLine)
ANSWERS: Mapping[str, Sequence[type]] = {
    "status": (Overview,),
    "doctor": (Report,),
    "metrics": (Exposition,),
    "history": (Curves,),
    "service status": (ServiceReport,),
    "subtree ls": (SubtreePage,),
    "subtree create": (Begun, SubtreeDetail, ClientLine),
    "subtree scanned": (ScanLines,),
    "subtree show": (SubtreeDetail, CreationStory),
    "subtree adopt": (JobDetail,),
    "subtree bundle": (NodeBundle,),
    **dict.fromkeys(("subtree rm", "subtree release", "subtree hold", "subtree verify", "scan"), _BEGUN),
    **dict.fromkeys((f"migrate {verb}" for verb in ("plan", "start", "rollback", "status")), _BEGUN),
    **dict.fromkeys((f"migrate {verb}" for verb in ("verify", "purge", "cancel")), _BEGUN),
    "key ls": (KeyPage,),
    "key show": (KeyLine,),
    "key rescan": _CLIENT,
    "key destruction ls": (DestructionPage,),
    "tenant ls": (TenantPage,),
    "kms ls": (KmsPage, ClientLine),
    "kms test": _CLIENT,
    "job ls": (JobList,),
    **dict.fromkeys((f"job {verb}" for verb in ("show", "pause", "resume", "cancel")), (JobDetail,)),
    "client ls": (ClientPage,),
    "client explain": (Story, EndedStory),
    "gate show": (RungPage,),
    "gate preview": (Preview, EvictionPreview),
    "gate set": (Preview, EvictionPreview),
    "audit ls": (ActPage,),
    "audit verify": (Verdict,),
    "show": (Declared,),
    "apply": (Applied,),
    "api show": (Doors,),
    "api access ls": (AccessPage,),
    "api token create": (NewToken,),
    "api session ls": (SessionPage,),
    "api login": (Link,),
}
"""By command; one that is not here has only its status line to tell, or is found below `/lines`."""


def answers_of(operation: Operation) -> Sequence[type]:
    """The classes of what an operation answers; none: it has only its status line to tell."""
    if operation.path.startswith("/lines/"):
        return _CLIENT
    return ANSWERS.get(operation.command, ())
