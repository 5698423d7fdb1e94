"""The viewers in a real browser: JupyterLab and Chromium, started here, on a small CT that is known
voxel by voxel.
"""

import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browser import chromium, jupyterlab, open_notebook, run_all, write_notebook
from helpers import ct_series, interop_required, require_program, write_series
from jupyter_client import BlockingKernelClient

import magician
from magician.display.figures import montage
from magician.display.viewer import ct_viewer
from magician.rendering.overlay import paint
from magician.rendering.windowing import window

LOAD = """
import numpy as np
from magician import montage, window_viewer
from magician.display.viewer import ct_viewer
from magician.ct.volume import read_series
volume = read_series("ct", progress=False)
labels = np.load("labels.npy")
"""
JAVASCRIPT = Path(magician.__file__).parent / "display" / "page_viewer.js"
FIGURE = "montage(volume, labels, tiles=4)"
FIGURE_IN_WORDS = (
    "Montage: 4 of 12 axial slices from feet to head, the lungs in blue; "
    "each with its number and height; letters mark the sides of the patient."
)
STATE = """viewer.plane, viewer.slice, f"{viewer.center:g}", f"{viewer.width:g}", \
str(viewer.overlay).lower(), f"{viewer.opacity:g}" """
TIMEOUT_MS = 20_000


class Session:
    """A notebook with both viewers, open in a browser, and its kernel."""

    def __init__(self, page, kernel):
        self.page, self.kernel = page, kernel
        self.rich, self.stage = (
            page.locator(".magician-viewer"),
            page.locator(".magician-viewer .stage"),
        )
        self.hosts, self.frames, self.server = set(), [], None

    def python(self, code):
        """Run code in the kernel, which the page does not see, and return what it prints."""
        printed = []
        self.kernel.execute_interactive(
            code,
            timeout=20,
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )
        return "".join(printed).strip()

    def becomes(self, expression, expected):
        """Wait until Python says so: the page tells it a moment after the last step."""
        end = time.monotonic() + 20
        while (found := self.python(f"print({expression})")) != expected and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def start_over(self):
        self.page.wait_for_timeout(200)  # until Python has been told of the last test's steps
        self.python(
            "viewer.plane, viewer.position = 'axial', [5, 31, 35]\n"
            "viewer.center, viewer.width = 40, 400\n"
            "viewer.overlay, viewer.opacity = False, 1"
        )
        self.wait_for("axial 6 40 400 false 1")
        self.stage.evaluate("stage => { stage.focus(); stage.scrollIntoView({block: 'center'}); }")

    def wait_for(self, drawn):
        self.page.wait_for_selector(f'.magician-viewer[data-drawn="{drawn}"]', timeout=TIMEOUT_MS)

    def settle(self):
        """Wait until the page has drawn what it was asked for: it draws once per frame."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def drawn(self):
        return self.rich.get_attribute("data-drawn")

    def pixels(self):
        """What the page shows, as (rows, columns, 3)."""
        width, height, data = self.rich.evaluate(
            """viewer => {
                const shown = viewer.querySelector("canvas");
                const {width, height} = shown;
                const canvas = Object.assign(document.createElement("canvas"), {width, height});
                const copy = canvas.getContext("2d");
                copy.drawImage(shown, 0, 0);
                return [width, height, [...copy.getImageData(0, 0, width, height).data]];
            }"""
        )
        return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]

    def middle(self):
        box = self.stage.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture(scope="module")
def session(tmp_path_factory, labels):
    require_program("chromium")
    if not interop_required():
        pytest.importorskip(
            "playwright", reason="playwright, which drives the browser, is not installed"
        )
    folder = tmp_path_factory.mktemp("notebooks")
    write_series(ct_series(), folder / "ct")
    np.save(folder / "labels.npy", labels)
    cells = [
        "viewer = ct_viewer(volume, labels)\nviewer",
        "core = window_viewer(volume, labels)\ncore",
        FIGURE,
    ]
    write_notebook(folder / "viewers.ipynb", LOAD, *cells)
    with jupyterlab(folder) as lab, chromium() as page:
        hosts, frames = set(), []
        page.on(
            "request",
            lambda request: hosts.add(request.url.split("/")[2].split(":")[0] or "in the page"),
        )
        page.on("websocket", lambda socket: record(socket, frames))
        open_notebook(page, lab, "viewers.ipynb")
        run_all(page)
        page.wait_for_selector(".magician-viewer[data-complete]", timeout=TIMEOUT_MS)
        (connection,) = lab.runtime.glob("kernel-*.json")
        kernel = BlockingKernelClient(connection_file=str(connection))
        kernel.load_connection_file()
        kernel.start_channels()
        kernel.wait_for_ready(timeout=20)
        opened = Session(page, kernel)
        opened.hosts, opened.frames, opened.server = hosts, frames, lab
        yield opened
        kernel.stop_channels()


def record(socket, frames):
    """Keep what goes to the kernel and comes from it; not what JupyterLab says to its server."""
    if "/channels" in socket.url:
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda frame: frames.append(frame))


@pytest.fixture
def lab(session):
    session.start_over()
    return session


def grey(picture):
    return np.repeat(picture[..., None], 3, axis=-1)


def assert_pixels_are_those_of_numpy(lab, volume, labels):
    planes = {
        "axial": (5, lambda array: array[5]),
        "coronal": (31, lambda array: array[::-1, 31]),
        "sagittal": (35, lambda array: array[::-1, :, 35]),
    }
    windows = [(40, 400), (-600, 1500), (-855.5, 7), (0, 2), (-850, 1)]
    for name, (index, view) in planes.items():
        for center, width in windows:
            lab.python(f"viewer.plane, viewer.overlay = {name!r}, False")
            lab.python(f"viewer.center, viewer.width = {center}, {width}")
            lab.wait_for(f"{name} {index + 1} {center} {width} false 1")
            np.testing.assert_array_equal(
                lab.pixels(), grey(window(view(volume.hu), center, width))
            )
        for opacity in (1, 0.35):
            lab.python(
                f"viewer.center, viewer.width = -600, 1500\n"
                f"viewer.overlay, viewer.opacity = True, {opacity}"
            )
            lab.wait_for(f"{name} {index + 1} -600 1500 true {opacity}")
            expected = paint(view(volume.hu), view(labels), -600, 1500, opacity)
            np.testing.assert_array_equal(lab.pixels(), expected)
        lab.python("viewer.opacity = 1")


def test_the_pixels_are_those_of_window_in_numpy(lab, volume, labels):
    assert lab.rich.get_attribute("data-painter") == "WebGL2"
    assert_pixels_are_those_of_numpy(lab, volume, labels)


def test_the_wheel_moves_the_slice_and_python_is_told(lab, volume):
    lab.page.mouse.move(*lab.middle())
    lab.page.mouse.wheel(0, -100)
    lab.wait_for("axial 7 40 400 false 1")
    np.testing.assert_array_equal(lab.pixels(), grey(window(volume.hu[6], 40, 400)))
    lab.page.mouse.wheel(0, 100)
    lab.page.mouse.wheel(0, 100)
    lab.wait_for("axial 5 40 400 false 1")
    assert lab.becomes("viewer.slice", "5") == "5"


def test_a_drag_changes_the_window_and_the_kernel_hears_of_it_at_the_end(lab):
    x, y = lab.middle()
    lab.page.mouse.move(x, y)
    lab.page.mouse.down()
    before = len(lab.frames)
    for i in range(1, 11):
        lab.page.mouse.move(x + 5 * i, y - 2 * i)
    assert len(lab.frames) == before
    lab.wait_for("axial 6 71 478 false 1")  # 50 pixels to the right and 20 up, at 400/256 HU each
    lab.page.mouse.up()
    assert lab.becomes("viewer.center, viewer.width", "71.0 478.0") == "71.0 478.0"
    lab.page.mouse.dblclick(x, y)
    lab.wait_for("axial 6 40 400 false 1")


def test_python_moves_the_page(lab):
    lab.python("viewer.slice, viewer.center, viewer.width = 3, -500, 1200")
    lab.wait_for("axial 3 -500 1200 false 1")


def test_the_overlay_is_switched_by_its_box(lab):
    assert (np.ptp(lab.pixels(), axis=-1) == 0).all()
    lab.rich.get_by_label("lungs in blue").click()
    lab.wait_for("axial 6 40 400 true 1")
    assert np.ptp(lab.pixels(), axis=-1).max() > 100
    assert lab.becomes("viewer.overlay", "True") == "True"


@pytest.mark.parametrize(
    ("keys", "drawn"),
    [
        ("ArrowUp ArrowRight ArrowRight ArrowDown", "axial 8 40 400 false 1"),
        ("End", "axial 12 40 400 false 1"),
        ("Home", "axial 1 40 400 false 1"),
        ("PageDown ArrowUp", "axial 2 40 400 false 1"),
        ("c Shift+C Shift+C", "axial 6 50 400 false 1"),
        ("w w Shift+W", "axial 6 40 380 false 1"),
        ("1", "axial 6 -600 1500 false 1"),
        ("3", "axial 6 400 1800 false 1"),
        ("3 r", "axial 6 40 400 false 1"),
        ("f", "coronal 32 40 400 false 1"),
        ("p p", "sagittal 36 40 400 false 1"),
        ("o [ [ ]", "axial 6 40 400 true 0.9"),
        ("x ArrowRight ArrowRight ArrowDown x s", "sagittal 38 40 400 false 1"),
    ],
)
def test_the_keyboard_does_it_too(lab, keys, drawn):
    for key in keys.split():
        lab.page.keyboard.press(key)
    lab.wait_for(drawn)
    assert lab.becomes(STATE, drawn) == drawn
    # x and o are JupyterLab's keys for cutting a cell and the like
    assert lab.page.locator(".jp-Cell").count() == 4


def test_the_page_magnifies_and_moves_the_picture(lab):
    canvas = lab.rich.locator("canvas")
    whole = canvas.bounding_box()
    lab.page.keyboard.press("+")
    lab.page.wait_for_function(
        "width => document.querySelector('.magician-viewer canvas').clientWidth > width",
        arg=whole["width"],
    )
    x, y = lab.middle()
    lab.page.mouse.move(x, y)
    lab.page.keyboard.down("Shift")
    lab.page.mouse.down()
    lab.page.mouse.move(x + 40, y, steps=4)
    lab.page.mouse.up()
    lab.page.keyboard.up("Shift")
    lab.settle()
    box = canvas.bounding_box()
    assert box["width"] == pytest.approx(whole["width"] * 1.25, abs=1)
    assert box["x"] + box["width"] / 2 == pytest.approx(x + 40, abs=1)
    lab.page.keyboard.down("Control")
    lab.page.mouse.wheel(0, 100)
    lab.page.keyboard.up("Control")
    lab.settle()
    assert canvas.bounding_box()["width"] < box["width"]
    assert lab.drawn() == "axial 6 40 400 false 1"
    lab.page.keyboard.press("r")
    lab.settle()
    assert canvas.bounding_box() == whole


def test_the_value_under_the_mouse_is_told(lab, volume):
    box = lab.rich.locator("canvas").bounding_box()
    lab.page.mouse.move(box["x"] + 20.5 / 72 * box["width"], box["y"] + 30.5 / 64 * box["height"])
    lab.settle()
    assert (
        lab.rich.locator(".value").text_content()
        == f"{volume.hu[5, 30, 20]:.0f} HU\nR 23, A 2, F 152 mm"
    )


def test_letters_proportions_and_scale(lab):
    shown = {}
    for plane in ("axial", "coronal", "sagittal"):
        lab.page.get_by_label("plane", exact=True).select_option(plane)
        lab.settle()
        texts = [
            lab.rich.locator(f".{edge}").text_content()
            for edge in ("left", "right", "top", "bottom")
        ]
        box = lab.rich.locator("canvas").bounding_box()
        shown[plane] = ("".join(texts), round(box["width"] / box["height"], 1))
        bar = lab.rich.locator(".scale").bounding_box()["width"]
        length = {"1 cm": 10, "2 cm": 20}[lab.rich.locator(".scale").text_content()]
        across = 64 if plane == "sagittal" else 72
        # and its two edges
        assert bar == pytest.approx(length * box["width"] / (across * 1.5), abs=4.1)
    assert shown == {"axial": ("RLAP", 1.1), "coronal": ("RLHF", 3.0), "sagittal": ("APHF", 2.7)}


def test_the_sliders_of_the_core_viewer_move_it(lab):
    image = lab.page.locator("img.jupyter-widgets")
    before = image.get_attribute("src")
    lab.page.locator(".jp-Cell").nth(2).locator(".noUi-handle").first.focus()
    lab.page.keyboard.press("ArrowRight")
    assert lab.becomes("core.slice.value", "7") == "7"
    lab.page.wait_for_function(
        "before => document.querySelector('img.jupyter-widgets').src !== before", arg=before
    )
    assert image.bounding_box()["width"] == pytest.approx(512, abs=2)


def test_the_viewer_draws_without_webgl_too(lab, volume, labels):
    lab.rich.evaluate(
        "viewer => viewer.querySelector('canvas').getContext('webgl2')"
        ".getExtension('WEBGL_lose_context').loseContext()"
    )
    lab.page.wait_for_selector('.magician-viewer[data-painter="2D canvas"]', timeout=TIMEOUT_MS)
    assert_pixels_are_those_of_numpy(lab, volume, labels)


def test_the_page_asks_for_the_nearest_slices_first(lab):
    order = lab.page.evaluate(
        """async (source) => {
            const script = new Blob([source], {type: "text/javascript"});
            const module = await import(URL.createObjectURL(script));
            const study = {shape: [28, 2, 2], labels: false};
            const sent = [], state = {_study: study, position: [13, 0, 0]};
            let answer;
            const model = {
                get: (name) => state[name],
                send: (message) => sent.push(message),
                on: (_, listener) => { answer = listener; },
            };
            module.default().initialize({model});
            const pixels = (count) => new DataView(new ArrayBuffer(count * 8));
            state.position = [27, 0, 0];  // and then those nearest to where one has scrolled
            for (let i = 1; i < sent.length; i++) await answer(sent[i], [pixels(sent[i].count)]);
            return sent.map((m) => m.values ? "values" : `${m.first}+${m.count}`);
        }""",
        JAVASCRIPT.read_text(),
    )
    assert order == ["values", "8+8", "16+8", "24+4", "0+8"]


def test_while_the_kernel_is_busy_there_is_a_still_picture(lab, volume):
    viewer = ct_viewer(volume)
    viewer._repr_mimebundle_()
    state = {
        name: value
        for name, value in viewer.get_state().items()
        if name in viewer.trait_names(sync=True)
    }
    state["_still"] = list(state["_still"])
    shown = lab.page.evaluate(
        """async ([source, state]) => {
            const script = new Blob([source], {type: "text/javascript"});
            const module = await import(URL.createObjectURL(script));
            state._still = new DataView(new Uint8Array(state._still).buffer);
            const model = {get: (name) => state[name], send() {}, on() {}, off() {}};
            const el = document.body.appendChild(document.createElement("div"));
            const widget = module.default();
            widget.initialize({model});
            const leave = widget.render({model, el});
            const still = el.querySelector(".still");
            await still.decode();
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            const text = el.querySelector(".coming").textContent;
            const seen = [still.naturalWidth, still.hidden, text];
            leave();
            el.remove();
            return seen;
        }""",
        [JAVASCRIPT.read_text(), state],
    )
    assert shown == [512, False, "waiting for the kernel, which may be busy with other cells"]
    assert lab.rich.locator(".still").is_hidden()


@pytest.mark.parametrize(
    ("name", "typed", "drawn"),
    [
        ("window centre in HU", "-600", "axial 6 -600 400 false 1"),
        ("window width in HU", "1500", "axial 6 40 1500 false 1"),
        ("window width in HU", "0", "axial 6 40 1 false 1"),
    ],
)
def test_a_number_that_is_typed_sets_the_window(lab, name, typed, drawn):
    field = lab.rich.get_by_label(name)
    field.fill(typed)
    field.press("Enter")
    lab.wait_for(drawn)
    assert lab.becomes(STATE, drawn) == drawn


def test_the_number_fields_follow_presets_and_drag_and_python(lab):
    center, width = (lab.rich.get_by_label(f"window {name} in HU") for name in ("centre", "width"))
    lab.page.keyboard.press("1")
    lab.wait_for("axial 6 -600 1500 false 1")
    assert (center.input_value(), width.input_value()) == ("-600", "1500")
    lab.python("viewer.center = 35.5")
    lab.wait_for("axial 6 35.5 1500 false 1")
    assert center.input_value() == "35.5"
    x, y = lab.middle()
    lab.page.mouse.move(x, y)
    lab.page.mouse.down()
    lab.page.mouse.move(x + 20, y, steps=4)
    lab.page.mouse.up()
    lab.settle()
    assert float(width.input_value()) > 1500


def test_keys_in_a_number_field_move_no_slice_and_nonsense_changes_nothing(lab):
    field = lab.rich.get_by_label("window centre in HU")
    for keys in ("e", "-", "Home", "ArrowLeft", "Enter"):
        field.press(keys)
    lab.settle()
    assert lab.drawn() == "axial 6 40 400 false 1"
    assert field.input_value() == "40"
    field.fill("")
    field.press("Enter")
    assert field.input_value() == "40"
    field.press("ArrowUp")
    lab.wait_for("axial 6 50 400 false 1")


@pytest.mark.parametrize("key", ["Escape", "?"])
def test_the_list_of_keys_lies_over_the_picture_until_it_is_closed(lab, key):
    lab.page.keyboard.press("?")
    shown, stage = lab.rich.get_by_role("dialog", name="mouse and keys"), lab.stage.bounding_box()
    assert shown.bounding_box() == stage
    lab.page.keyboard.press(key)
    assert shown.is_hidden()
    lab.page.keyboard.press("ArrowUp")  # the picture has the keys again
    lab.wait_for("axial 7 40 400 false 1")


def test_the_list_of_keys_has_buttons_of_its_own(lab):
    lab.rich.get_by_role("button", name="keys", exact=True).click()
    lab.rich.get_by_role("button", name="close").click()
    assert lab.rich.get_by_role("dialog").count() == 0  # a hidden one has no role


def test_a_screen_reader_reads_out_what_a_figure_shows(lab):
    assert lab.page.get_by_role("img", name=FIGURE_IN_WORDS, exact=True).is_visible()


def test_a_notebook_that_was_not_run_here_shows_pictures_and_words_as_stored(lab, volume, labels):
    viewer = ct_viewer(volume, labels)
    shown = [viewer._repr_mimebundle_()[0], {"text/html": montage(volume, labels)._repr_html_()}]
    path = lab.server.folder / "stored.ipynb"
    write_notebook(path, "viewer", "figure")
    notebook = nbformat.read(path, as_version=4)
    for cell, data in zip(notebook.cells, shown, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", data)]
    nbformat.write(notebook, path)
    page = lab.page.context.new_page()
    open_notebook(page, lab.server, path.name)
    for words in (viewer._describe_still(), repr(montage(volume, labels))):
        assert page.get_by_role("img", name=words, exact=True).bounding_box()["width"] > 400
    page.close()


def test_nothing_is_fetched_from_elsewhere(lab):
    assert lab.hosts <= {"127.0.0.1", "in the page"}
    assert "127.0.0.1" in lab.hosts
