"""The YAML of a spec, whose nodes know their lines, so that every mistake can be pointed at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from albu_learned import checks

__all__ = ["Document"]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML's newer rules for numbers: 1e-2 is one, which PyYAML takes for a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class Document:
    """A file that has been parsed; what its nodes must be is asked piece by piece.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.loader = _Loader(path.read_text(encoding="utf-8"))
            self.root = self.loader.get_single_node()
        except OSError as error:
            raise FileNotFoundError(
                f"The spec must be a YAML file, got {str(path)!r}: {error.strerror}."
            ) from None
        except (UnicodeDecodeError, yaml.reader.ReaderError):
            raise ValueError(f"The spec {str(path)!r} must be text in UTF-8.") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            problem = " ".join(filter(None, [error.context, error.problem]))
            raise ValueError(f"{path}, line {line}: this is not YAML: {problem}.") from None

    def mapping(
        self, node: yaml.Node, what: str, known: Sequence[str] | None = None
    ) -> dict[str, yaml.Node]:
        """The values of a mapping by their keys, each key once."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} must be a mapping of `key: value`, got {self.value(node)!r}.")
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = self.value(key_node)
            if not isinstance(key, str):
                self.fail(key_node, f"a key must be a text, got {key!r}.")
            if key in found:
                self.fail(key_node, f"`{key}` must be given once.")
            if known is not None and key not in known:
                self.fail(
                    key_node,
                    f"`{key}` is not a key of {what}.{checks.nearest(key, known)} "
                    f"Known: {', '.join(known)}.",
                )
            found[key] = value
        return found

    def names(self, node: yaml.Node, key: str) -> list[str]:
        """A list of texts, each once."""
        names = self.value(node)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fail(node, f"`{key}` must be a list of names, got {names!r}.")
        if len(set(names)) < len(names):
            self.fail(node, f"`{key}` must name each once, got {names!r}.")
        return names

    def checked(
        self, keys: dict[str, yaml.Node], key: str, check: Any, value: Any, rule: Any
    ) -> Any:
        """What one of `albu_learned.checks` makes of the value of a key."""
        try:
            return check(key, value, rule)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.at(keys[key])}: {error}") from None

    def value(self, node: yaml.Node) -> Any:
        """What a node stands for in Python."""
        try:
            return self.loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or error
            self.fail(node, f"this value cannot be read: {problem}.")

    def at(self, node: yaml.Node) -> str:
        return f"{self.path}, line {node.start_mark.line + 1}"

    def fail(self, node: yaml.Node, message: str) -> NoReturn:
        raise ValueError(f"{self.at(node)}: {message}")
