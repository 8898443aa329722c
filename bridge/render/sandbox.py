"""What may a template do? Read its names and write text, and neither reach Python nor run for ever by mistake.

The sandbox of Jinja bounds what a template reaches, not what it costs; so loops go over what the event brings, nest
little, and operators and filters that turn a line into gigabytes are missing. Templates are the operator's own files:
this is against mistakes and copied snippets, not against an operator who means harm to himself.
https://jinja.palletsprojects.com/en/stable/sandbox/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bridge.errors import TemplateError
from bridge.render.foreign import METHODS, reveal
from bridge.render.view import FILTERS

MAX_OUTPUT = 64_000
MAX_NESTING = 3


@dataclass(frozen=True, slots=True, order=True)
class TemplateProblem:
    """What is wrong with a template, and where. `name` is within the templates folder, lines count from 1."""

    name: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"templates/{self.name}:{self.line}: {self.text}"


class Fault(TemplateError):
    """A TemplateError that knows its place."""

    def __init__(self, problem: TemplateProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


# Left out of Jinja's own are those that turn a line into gigabytes (format, center, indent ...), that are about HTML,
# and that reach into Python.
_FILTERS = (
    "abs capitalize count d default dictsort first float groupby int items join last length list lower map max min "
    "reject rejectattr replace reverse round select selectattr sort string sum title trim truncate unique upper "
    "wordcount"
)
JINJA_FILTERS = _FILTERS.split()


class Loader(jinja2.BaseLoader):
    """The given texts, without those that have faults."""

    def __init__(self, sources: Mapping[str, str], faults: Mapping[str, list[TemplateProblem]]) -> None:
        self._sources, self._faults = sources, faults

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        if template not in self._sources:
            raise jinja2.TemplateNotFound(template)
        if self._faults.get(template):
            raise Fault(self._faults[template][0])
        return self._sources[template], template, None


class Environment(ImmutableSandboxedEnvironment):
    """Jinja with attributes and filters, and without calls into Python or sums that explode."""

    intercepted_binops = frozenset({"*", "%", "**"})

    def __init__(self, sources: Mapping[str, str], faults: Mapping[str, list[TemplateProblem]]) -> None:
        self.sources = sources
        super().__init__(
            loader=Loader(sources, faults),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            auto_reload=False,
            finalize=lambda value: "" if value is None else value,
        )
        self.filters = {name: self.filters[name] for name in JINJA_FILTERS} | FILTERS
        self.globals.clear()

    def join_path(self, template: str, parent: str) -> str:
        """A template that extends its own name means the shipped one that it replaces."""
        ours = f"shipped/{template}"
        return ours if template == parent and ours in self.sources else template

    def is_safe_callable(self, obj: Any) -> bool:
        if isinstance(obj, Macro | BlockReference):
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and not isinstance(owner, Enum):
            return name in METHODS
        if isinstance(owner, dict):
            return name in {"get", "items", "keys", "values"}
        return isinstance(owner, LoopContext) and name in {"cycle", "changed"}

    def call(__self, __context: Context, __obj: Any, *args: Any, **options: Any) -> Any:
        # Jinja's own refusal prints the thing that was called, and with it the event.
        if not isinstance(__obj, jinja2.Undefined) and not __self.is_safe_callable(__obj):
            raise SecurityError(f"'{getattr(__obj, '__name__', 'this')}' is not to be called from a template")
        return __context.call(__obj, *args, **options)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            raise SecurityError(f"'{operator}' is for numbers")
        return super().call_binop(context, operator, left, right)


def take(pieces: Iterator[str]) -> str:
    """Return what a template writes; raise SecurityError past `MAX_OUTPUT` characters."""
    taken, left = [], MAX_OUTPUT
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise SecurityError(f"it writes more than {MAX_OUTPUT:,} characters")
        taken.append(piece)
    return "".join(taken)


# -- what went wrong, and where


def fault(name: str, error: Exception) -> Fault:
    """Return an error of rendering as one that names the template and the line, and repeats no text of the event."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, jinja2.TemplateNotFound):
        return Fault(TemplateProblem(name, 1, f"there is no template '{error.name}'"))
    if isinstance(error, jinja2.TemplateSyntaxError):
        return Fault(TemplateProblem(error.name or name, error.lineno, _syntax(error)))
    place = TemplateProblem(name, 1, _reason(error))
    trace = error.__traceback__
    while trace:  # the last frame that is a template's
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, jinja2.Template):
            line = template.get_corresponding_lineno(trace.tb_lineno)
            place = TemplateProblem(template.name or name, line, place.text)
        trace = trace.tb_next
    return Fault(place)


_NO_ATTRIBUTE = re.compile(r"'([\w.]+)(?: object)?' has no attribute '(\w+)'")


def _reason(error: Exception) -> str:
    if isinstance(error, jinja2.UndefinedError):
        if "inline if-expression" in str(error):
            return "an if within {{ }} needs its else: {{ a if b else '' }}"
        found = _NO_ATTRIBUTE.fullmatch(str(error))
        if found and found[1] == "None":
            return f"'{found[2]}' is asked of what may be unknown, guard it with {{% if %}}"
        return f"there is no '{found[2]}' here" if found else "this element or name does not exist"
    if isinstance(error, SecurityError | TypeError | ZeroDivisionError):
        return reveal(str(error))[:300]
    if isinstance(error, RecursionError):
        return "it includes or calls itself without end"
    return f"it fails here with {type(error).__name__}"


def _syntax(error: jinja2.TemplateSyntaxError) -> str:
    text = error.message or "it cannot be read"
    if text.startswith("No filter named '"):
        wanted = text.split("'")[1]
        return f"no filter named '{wanted}'" + did_you_mean(wanted, [*JINJA_FILTERS, *FILTERS])
    return text[:1].lower() + text[1:].rstrip(".")


def did_you_mean(wanted: str, known: list[str]) -> str:
    close = get_close_matches(wanted, known, 1)
    return f", did you mean '{close[0]}'?" if close else ""


# -- what is seen without rendering


def check(
    environment: Environment, sources: Mapping[str, str], names: frozenset[str]
) -> dict[str, list[TemplateProblem]]:
    """Return the problems of each template that can be found by reading it; `names` are those that exist."""
    found: dict[str, list[TemplateProblem]] = {}
    trees: dict[str, nodes.Template] = {}
    asked: dict[str, set[str]] = {}  # the names that a template takes from outside
    for name, text in sources.items():
        try:
            tree = environment.parse(text, name)
            asked[name] = meta.find_undeclared_variables(tree)  # also meets unknown filters and tests
            trees[name] = tree
        except jinja2.TemplateSyntaxError as error:
            found[name] = [TemplateProblem(name, error.lineno, _syntax(error))]
        except RecursionError:
            found[name] = [TemplateProblem(name, 1, "it is nested too deeply")]
    # A name set in one template of a chain may be used in another one.
    known = names.union(*(_assigned(tree) for tree in trees.values()))
    for name, tree in trees.items():
        found.setdefault(
            name,
            sorted(
                {
                    TemplateProblem(name, line, text)
                    for line, text in [*_faults(tree, sources), *_unknown(tree, asked[name], known)]
                }
            ),
        )
    return found


def _assigned(tree: nodes.Template) -> set[str]:
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    macros = {node.name for node in tree.find_all(nodes.Macro)}
    imports = {node.target for node in tree.find_all(nodes.Import)}
    chosen = {one if isinstance(one, str) else one[1] for node in tree.find_all(nodes.FromImport) for one in node.names}
    return stored | macros | imports | chosen


def _faults(tree: nodes.Template, sources: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for reference in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
        yield from _reference(reference, sources)
    for power in tree.find_all(nodes.Pow):
        yield power.lineno, "'**' is not for templates"
    for rest in tree.find_all(nodes.Mod):
        if any(_is_text(side) for side in (rest.left, rest.right)):
            yield rest.lineno, "'%' on a text is not for templates, join with ~"
    for loop in tree.find_all(nodes.For):
        if not _is_list(loop.iter):
            yield loop.lineno, "a loop goes over a name such as tasks or labels, not over something computed"
        if loop.recursive:
            yield loop.lineno, "recursive loops are not for templates"
    for line in _too_deep(tree, 0):
        yield line, f"loops nest more than {MAX_NESTING} deep"


def _unknown(tree: nodes.Template, asked: set[str], known: frozenset[str]) -> Iterator[tuple[int, str]]:
    for name in asked - known:
        line = next((node.lineno for node in tree.find_all(nodes.Name) if node.name == name), 1)
        yield line, f"there is no '{name}'" + did_you_mean(name, sorted(known))


def _reference(node: nodes.Node, sources: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    wanted = getattr(node, "template", None)
    if not isinstance(wanted, nodes.Const) or not isinstance(wanted.value, str):
        yield node.lineno, "name the template in quotes"
    elif wanted.value not in sources:
        yield node.lineno, f"there is no template '{wanted.value}'" + did_you_mean(wanted.value, list(sources))


def _is_text(node: nodes.Node) -> bool:
    return isinstance(node, nodes.TemplateData | nodes.Concat) or (
        isinstance(node, nodes.Const) and isinstance(node.value, str)
    )


def _is_list(node: nodes.Node | None) -> bool:
    match node:
        case nodes.Name():
            return True
        case nodes.Getattr() | nodes.Getitem() | nodes.Filter():
            return _is_list(node.node)
        case nodes.Call():  # branch.split("/"): methods are few, and none makes much of little
            return isinstance(node.node, nodes.Getattr) and _is_list(node.node.node)
        case nodes.List() | nodes.Tuple():
            return True  # written out in the template
    return False


def _too_deep(node: nodes.Node, depth: int) -> Iterator[int]:
    if isinstance(node, nodes.For):
        depth += 1
        if depth > MAX_NESTING:
            yield node.lineno
            return
    for child in node.iter_child_nodes():
        yield from _too_deep(child, depth)
