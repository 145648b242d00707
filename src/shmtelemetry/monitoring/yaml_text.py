"""Documents as YAML, always the same text for the same document."""

from typing import Any, Final

import yaml

_WIDTH: Final = 120


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as such, everything else in few lines; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(document: object, *comments: str) -> str:
    """comments: lines to begin with. Keys stay in their order."""
    head = "".join(f"# {line}\n" for line in ("Written by shmtel generate: change the catalogue instead.", *comments))
    body: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)
    return head + body
