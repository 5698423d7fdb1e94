"""Only `magician/upper_layer` touches what pynetdicom does not document, and what it owns."""

import ast
from pathlib import Path

import pytest

import magician

PACKAGE = Path(magician.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "upper_layer")
# Names of pynetdicom's objects that its documentation of an association does not offer
INTERNAL = {
    "acse", "artim_timer", "cancel_req", "current_state", "dimse", "do_action", "dul",
    "event_queue", "get_msg", "kill_dul", "msg_queue", "peek_msg", "provider_queue",
    "receive_pdu", "receive_primitive", "run_reactor", "send_msg", "send_pdu", "set_socket",
    "state_machine", "stop_dul", "tls_args", "to_provider_queue", "to_user_queue",
}  # fmt: skip
# Functions and classes of ours that make one of pynetdicom's objects
MAKERS = {"associate", "connection_of", "Connection", "Listener", "Requestor", "start_listening"}
# Whose private names a file may use: its own objects', and those of a drill, which hides its answer
# from learners and not from the function that examines theirs
OURS = {"self", "cls", "super", "drill"}
# What a variable with one of pynetdicom's objects is always called here
NAMES = {"ae", "assoc", "association", "event"}


def last_name(node: ast.expr) -> str:
    """The name at the end of ``a``, ``a.b`` or ``a.b()``."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def chain(node: ast.expr) -> set[str]:
    """All names of ``a.b().c``."""
    if isinstance(node, ast.Call):
        return chain(node.func)
    if isinstance(node, ast.Attribute):
        return {node.attr} | chain(node.value)
    return chain(node.value) if isinstance(node, ast.Subscript) else {last_name(node)}


def names_in(node: ast.expr | None) -> set[str]:
    """All names of an annotation, also of one in quotation marks."""
    if node is None:
        return set()
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    found |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    for constant in ast.walk(node):
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
            found |= names_in(ast.parse(constant.value, mode="eval").body)
    return found


def imported_from_pynetdicom(tree: ast.Module) -> list[tuple[str, str]]:
    """What a file imports: pairs of its path in pynetdicom and the name that it has here."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pynetdicom":
            found += [(f"{node.module}.{a.name}", a.asname or a.name) for a in node.names]
        elif isinstance(node, ast.Import):
            found += [
                (a.name, a.asname or "pynetdicom")
                for a in node.names
                if a.name.split(".")[0] == "pynetdicom"
            ]
    return found


def pynetdicom_variables(tree: ast.Module, imported: set[str]) -> set[str]:
    """The names of variables and attributes that hold an object of pynetdicom's."""
    found, makers = set(NAMES), imported | MAKERS
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and names_in(node.annotation) & imported:
            found.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and names_in(node.annotation) & imported:
            found.add(last_name(node.target))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if last_name(node.value) in makers:
                found |= {last_name(target) for target in assigned(node)}
        elif isinstance(node, ast.withitem) and last_name(node.context_expr) in makers:
            found |= {last_name(target) for target in assigned(node)}
    return found - {""}


def parts_of(target: ast.expr | None) -> list[ast.expr]:
    """The targets of an assignment, one by one."""
    if isinstance(target, ast.Tuple | ast.List):
        return [part for element in target.elts for part in parts_of(element)]
    if isinstance(target, ast.Starred):
        return parts_of(target.value)
    return [] if target is None else [target]


def assigned(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to or deletes."""
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For | ast.comprehension):
        targets = [node.target]
    elif isinstance(node, ast.withitem):
        targets = [node.optional_vars]
    else:
        targets = []
    return [part for target in targets for part in parts_of(target)]


def is_private(name: str) -> bool:
    """Whether a name is private; ``__len__`` is Python's, ``_repr_html_`` is IPython's."""
    return name.startswith("_") and not name.startswith(("__", "_repr_", "_render_"))


def breaches(code: str) -> list[str]:
    """The places of a file at which it reaches through the wall, each as a line and a reason."""
    tree = ast.parse(code)
    imports = imported_from_pynetdicom(tree)
    imported = {name for _, name in imports}
    held = imported | pynetdicom_variables(tree, imported)
    found = [
        f"imports {path}" for path, _ in imports if any(is_private(p) for p in path.split("."))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            place = f"line {node.lineno}: {ast.unparse(node)}"
            if is_private(node.attr) and last_name(node.value) not in OURS:
                found.append(f"{place} is private")
            if node.attr in INTERNAL:
                found.append(f"{place} is internal to pynetdicom")
        elif isinstance(node, ast.Constant) and node.value == "tls_args":
            found.append(f"line {node.lineno}: only our Listener knows what we do with tls_args")
        elif isinstance(node, ast.ClassDef):
            if (imported | MAKERS) & set().union(*map(names_in, node.bases)):
                found.append(f"line {node.lineno}: {node.name} is a subclass of pynetdicom's")
        elif isinstance(node, ast.Call) and last_name(node) in ("setattr", "delattr", "vars"):
            changed = chain(node.args[0]) & held if node.args else ()
            if changed:
                found.append(f"line {node.lineno}: {ast.unparse(node)} is a way around the wall")
        for target in assigned(node):
            if isinstance(target, ast.Attribute) and chain(target.value) & held:
                found.append(f"line {target.lineno}: {ast.unparse(target)} is assigned to")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_upper_layer_touches_the_internals_of_pynetdicom(path):
    assert breaches(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "from pynetdicom.dimse import _RQ_TO_MESSAGE",
        "from pynetdicom import _handlers",
        "import pynetdicom._globals",
        "association._kill = True",
        "association._reactor_checkpoint.set()",
        "association.dul.socket.close()",
        "association.dimse.msg_queue.put((None, None))",
        "message = association.dimse.get_msg(block=True)",
        "event.assoc.is_established = False",
        "self.association.is_established = False",
        "found, event.assoc.is_aborted = True, True",
        "association.network_timeout += 1",
        "del association.acceptor.primitive",
        "setattr(association, 'is_established', False)",
        "vars(association)['is_established'] = False",
        "ae._servers.append(server)",
        "ae.maximum_pdu_size = 0",
        "server, node = start_listening(ae, host, port, [])\nserver.request_queue_size = 1",
        "with associate(node, []) as opened:\n    opened.is_established = False",
        "from pynetdicom.association import Association\n"
        "def f(peer: Association):\n    peer.acse_timeout = 1",
        "from pynetdicom import AE\nentity = AE()\nentity.require_called_aet = True",
        "from pynetdicom import AE\nclass Other(AE): pass",
        "class Other(Listener): pass",
        "from pynetdicom.association import Association\nAssociation.kill = None",
        "yield address, port, {'tls_args': node}",
    ],
)
def test_a_line_that_reaches_through_the_wall_is_seen(line):
    assert breaches(line) != []


@pytest.mark.parametrize(
    "line",
    [
        "self._servers = []",
        "super()._repr_mimebundle_()",
        "table._repr_html_()",
        "context = ssl.create_default_context()\ncontext.minimum_version = 1",
        "cls._shared[title] = 1",
        "self.association = association",
        "association.abort()",
        "if association.is_established: pass",
        "dataset.PatientName = ''",
        "from pynetdicom import AE, evt",
    ],
)
def test_a_line_before_the_wall_is_not_seen(line):
    assert breaches(line) == []
