"""Debian's Chromium, as a person uses it: pages by their addresses, fields by their labels, buttons by their words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

AXE = Path(__file__).with_name("axe.min.js")
"""Put there by `python3 -m dashboard_ui.build --axe`."""
PATIENCE = 60
"""Seconds for what has to come by itself, on a machine that has much else to do."""
WIDE, NARROW = 1280, 390
_SWITCHES = (
    "--headless=new",
    # root in a chamber of its own
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # the server has made its certificate by itself
    "--ignore-certificate-errors",
)
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
_CHECK = """
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: arguments[0]}).then(found => done(found.violations.map(
  each => each.id + ": " + each.nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(" | "))));
"""
_SCROLLING = (
    "[...document.querySelectorAll('.scroll')].filter(each => each.scrollWidth > each.clientWidth + 1)"
    ".map(each => each.getAttribute('aria-label'))"
)


class Browser:
    """One window.

    Args:
        driver: Selenium's.
        address: where the pages are.
        shots: where pictures go; None: none is made.
    """

    def __init__(self, driver: webdriver.Chrome, address: str, shots: Path | None) -> None:
        self.driver = driver
        self.address = address
        self._shots = shots

    def go(self, path: str) -> None:
        """Open an address."""
        self.driver.get(self.address + path)

    @property
    def path(self) -> str:
        """Where it is."""
        return self.driver.current_url.removeprefix(self.address)

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def type(self, label: str, text: str) -> None:
        """Fill in a field, or choose."""
        field = self.field(label)
        if field.tag_name == "select":
            Select(field).select_by_value(text)
        else:
            field.clear()
            field.send_keys(text)

    def unfold(self) -> None:
        """Show what a form has under "More options"."""
        self.driver.find_element(By.CSS_SELECTOR, "form.act summary").click()

    def tick(self, label: str) -> None:
        """Set a flag."""
        box = self.field(label)
        if not box.is_selected():
            box.click()

    def field(self, label: str) -> WebElement:
        """A field by the beginning of its label."""
        for each in self.driver.find_elements(By.TAG_NAME, "label"):
            if each.get_attribute("textContent").strip().startswith(label):
                return self.driver.find_element(By.ID, each.get_attribute("for"))
        raise AssertionError(f"no field {label!r} on {self.path}: {self.text}")

    def press(self, words: str) -> None:
        """Press a button, or follow a link, and be where it leads."""
        before = self.driver.find_element(By.TAG_NAME, "html")
        # a page that moves may take it away while it is looked for
        self.wait(f"something to press that says {words!r}", lambda: self._pressed(words))
        self.wait(f"what follows {words!r}", lambda: self._gone(before))

    def wait(self, what: str, so: Callable[[], object]) -> None:
        """Wait until something is so; a page that changes meanwhile is looked at again."""
        waiting = WebDriverWait(
            self.driver,
            PATIENCE,
            0.2,
            ignored_exceptions=[StaleElementReferenceException, WebDriverException],
        )
        waiting.until(lambda _: so(), f"{what}, on {self.path}")

    def sees(self, text: str) -> None:
        """Wait until a text is on the page."""
        self.wait(f"the text {text!r}", lambda: text in self.text)

    def look(self, name: str, theme: str = "light", width: int = WIDE) -> list[str]:
        """What axe has to say against the page, in a theme and a width; a picture of it is kept."""
        themes = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": themes})
        self._size(width, 900)
        if self._shots is not None:
            self._size(width, min(max(int(self._asked("document.documentElement.scrollHeight")), 500), 4000))
            self.driver.save_screenshot(str(self._shots / f"{name}-{theme}-{width}.png"))
        if not self._asked("'axe' in window"):
            self.driver.execute_script(AXE.read_text())
        against: list[str] = self.driver.execute_async_script(_CHECK, _RULES)
        if self._asked("document.documentElement.scrollWidth > innerWidth + 1"):
            against.append(f"the page is wider than {width} pixels")
        if width == NARROW:
            against += [f"{each} scrolls" for each in self._asked(_SCROLLING)]
        return [f"{name}, {theme}, {width}: {each}" for each in against]

    def complaints(self) -> list[str]:
        """What the browser refused or missed since it was asked last: its policy, scripts, files."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and "the server responded with a status of" not in entry["message"]
        ]

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """As for somebody who has switched JavaScript off."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    def _size(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def _asked(self, expression: str) -> Any:
        return self.driver.execute_script(f"return {expression}")

    def _pressed(self, words: str) -> bool:
        for each in self.driver.find_elements(By.CSS_SELECTOR, "button, a"):
            if each.text.strip() == words:
                each.click()
                return True
        return False

    @staticmethod
    def _gone(element: WebElement) -> bool:
        try:
            element.is_enabled()
        except StaleElementReferenceException:
            return True
        return False


@contextmanager
def browsing(address: str, folder: Path, shots: Path | None) -> Iterator[Browser]:
    """A browser that nobody has used before; `folder` is empty, and its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for switch in (*_SWITCHES, f"--user-data-dir={folder}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield Browser(driver, address, shots)
    finally:
        driver.quit()
