"""What a bundle brings into the cluster, entry by entry: what is damaged or refused stands in no other entry's way."""

from ..custody import Custody
from ..keys import bundle
from ..keys.errors import KeyStoreError
from ..keys.kms import Settings
from ..keys.lockbox import Lockbox
from .advice import shown
from .key_reports import Destroyed
from .report import Reporter


class BundleImport:
    """One import.

    Attributes:
        brought: keys that are kept now and were not before, tenants' keys among them.
        managers: names of key managers that are known now and were not before.
        left_out: places of what is damaged or was refused.
    """

    def __init__(self, custody: Custody, reporter: Reporter) -> None:
        self.brought = list[Lockbox]()
        self.managers = list[str]()
        self.left_out = list[str]()
        self._custody = custody
        self._reporter = reporter

    def run(self, data: bytes) -> None:
        """All of a bundle. Raises `ContainerError`: it is none."""
        destroyed = Destroyed(self._custody)
        # tenants' keys come first: what they would open is left out with them
        for entry in (*bundle.decoded(data), *bundle.settings_in(data)):
            try:
                self._bring(entry, destroyed)
            except bundle.DamagedEntryError as error:
                self.left_out.append(error.place)
                self._reporter.note(shown(f"damaged: {error}"))
            except KeyStoreError as error:
                self.left_out.append(bundle.place_of(entry))
                self._reporter.note(shown(f"{error}. {error.remedy}"))
        if destroyed.silent:
            self._reporter.note(
                f"the manager did not tell which keys were destroyed ({destroyed.silent}): "
                "only tombstones were honoured"
            )

    def _bring(self, entry: Lockbox | Settings | bundle.DamagedEntryError, destroyed: Destroyed) -> None:
        match entry:
            case Lockbox():
                with self._custody.keeper.told("import-bundle", entry.title):
                    if bundle.bring_in(self._custody.safe, entry, destroyed=destroyed, missing=self.left_out):
                        self.brought.append(entry)
            case Settings():
                with self._custody.keeper.told("import-bundle", f"key manager {entry.name}"):
                    if bundle.bring_in_settings(self._custody.kms, entry):
                        self.managers.append(entry.name)
            case _:
                raise entry
