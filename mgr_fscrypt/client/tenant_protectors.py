"""``tenant add``, ``remove``, ``test`` and ``rewrap``: what opens the key of a tenant."""

import argparse
from collections.abc import Sequence

from ..custody import Custody
from ..keys.lockbox import Entry
from ..keys.managed import forget
from ..keys.opener import Opener
from ..keys.tenants import Change
from .key_reports import Telling
from .key_text import protector_value
from .openers import NewProtector, new_protector, openers_of, show_words
from .outcome import Exit, Failure
from .report import Reporter


class TenantProtectors:
    """The verbs, each a method; the options are those of `key_parsers`."""

    def __init__(self, custody: Custody, reporter: Reporter, options: argparse.Namespace) -> None:
        self._custody = custody
        self._reporter = reporter
        self._options = options
        self._dry_run = getattr(options, "dry_run", False)

    def add(self) -> Exit:
        """One protector more."""
        tenant, label, known = self._options.tenant, self._label(), self._known()
        # all that can be wrong is tried before a code is shown that would open nothing
        for box in self._custody.safe.tenant_keys(tenant)[:1]:
            box.require_free(label)
        self._custody.tenants.newest(tenant, known)
        change = self._custody.tenants.add(tenant, label, self._new().opener, known)
        return self._done(f"add protector {label} to", f"added protector {label} to", change)

    def remove(self) -> Exit:
        """One protector less."""
        name = self._options.protector
        change = self._custody.tenants.remove(self._options.tenant, name)
        return self._done(f"remove protector {name} of", f"removed protector {name} of", change)

    def test(self) -> Exit:
        """Open it."""
        name = self._options.protector
        change = self._custody.tenants.test(self._options.tenant, name, self._known())
        return self._done(f"note that {name} opens", f"{name} opens", change)

    def rewrap(self) -> Exit:
        """A new container for a protector."""
        tenant, name, known = self._options.tenant, self._options.protector, self._known()
        self._custody.tenants.newest(tenant, known)
        change = self._custody.tenants.rewrap(tenant, name, self._new().opener, known)
        return self._done(
            f"wrap anew for {name}",
            f"wrapped anew for {name} (which revokes nothing: copies of the old container still open):",
            change,
        )

    def _known(self) -> tuple[Opener, ...]:
        return openers_of(self._options.open, self._custody.managers)

    def _new(self) -> NewProtector:
        options = self._options
        found = new_protector(options.new, self._managed, seconds=options.seconds, dry_run=self._dry_run)
        show_words(found, self._reporter)
        return found

    def _managed(self, name: str | None) -> Opener:
        if not name:
            raise Failure(
                Exit.USAGE,
                "it is not said which key manager",
                remedy="name one of `kms ls`, as `--with kms:NAME`",
            )
        return self._custody.managed(name)

    def _label(self) -> str:
        new = self._options.new
        return str(self._options.label or (new.source if new.kind == "kms" and new.source else new.kind))

    def _done(self, would: str, did: str, change: Change) -> Exit:
        box = change.box
        value = {"tenant": box.name, "protectors": [protector_value(each) for each in box.in_use()]}
        what = f"would {would}" if self._dry_run else did
        self._reporter.summary({**value, "dry_run": self._dry_run}, f"{what} {box.whose}")
        forget_unneeded(self._custody, self._reporter, change.made if self._dry_run else change.unneeded)
        Telling(self._custody, self._reporter, dry_run=self._dry_run).of_tenant(box.name)
        return Exit.DONE


def forget_unneeded(custody: Custody, reporter: Reporter, entries: Sequence[Entry]) -> None:
    """Have key managers forget what nothing needs any more; what fails is told, and harms nobody."""
    for trouble in forget((each.container for each in entries), custody.managed):
        reporter.note(trouble)
