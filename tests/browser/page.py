"""Chromium with the page of one server in it; what is on it as data; console errors are collected."""
from playwright.sync_api import sync_playwright

# The viewport of a desk and of a phone.
DESK = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}


class Browser:
    def __init__(self, path):
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])

    def open(self, url, token=None, viewport=None, scheme="light", query=""):
        return Page(self._browser, url, token, viewport or DESK, scheme, query)

    def close(self):
        self._browser.close()
        self._playwright.stop()


class Page:
    def __init__(self, browser, url, token, viewport, scheme, query):
        self._context = browser.new_context(viewport=viewport, color_scheme=scheme, device_scale_factor=1)
        self.page = self._context.new_page()
        self.errors = []
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.requested = []
        self.page.on("request", lambda request: self.requested.append(request.url))
        if token:
            self.page.add_init_script(f"sessionStorage.setItem('reembed-token', {token!r})")
        self.page.goto(url + "/" + query)

    def wait(self, expression, argument=None, seconds=30):
        """Until this JavaScript is true."""
        self.page.wait_for_function(expression, arg=argument, timeout=seconds * 1000)

    def text(self, selector):
        return self.page.inner_text(selector)

    def shown(self, selector):
        return self.page.is_visible(selector)

    def figures(self):
        """Everything that has a data-field, read at one moment."""
        return self.page.evaluate("""() => Object.fromEntries([...document.querySelectorAll('[data-field]')].map(
            e => [e.dataset.field, e.dataset.value || e.textContent]))""")

    def state(self):
        return self.page.get_attribute("#state", "data-value")

    def wait_state(self, state):
        self.wait("state => document.getElementById('state').dataset.value === state", state)

    def gates(self):
        return self.page.evaluate("""() => Object.fromEntries([...document.querySelectorAll('[data-gate]')].map(
            e => [e.dataset.gate, e.dataset.holds === 'true']))""")

    def events(self):
        return self.page.evaluate("() => [...document.querySelectorAll('[data-event]')].map(e => e.dataset.event)")

    def buttons(self):
        return self.page.evaluate("() => [...document.querySelectorAll('#controls button')].filter(b => b.offsetParent).map(b => b.id.slice(3))")

    def do(self, operation, reason=None, force=False):
        self.page.click(f"#do-{operation}")
        if reason:
            self.page.fill("#confirm-reason", reason)
        if force:
            self.page.check("#confirm-force")
        self.page.click("#confirm-yes")

    def overflows(self):
        """Something is wider than the window."""
        return self.page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")

    def close(self):
        self._context.close()
