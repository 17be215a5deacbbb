"""A pod's folders, filled as a kubelet fills them, and its variables with the paths of this host."""

from __future__ import annotations

import shutil
from itertools import count
from typing import TYPE_CHECKING

from tests.support.kubernetes import environment, find

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.kubernetes import Object

Secrets = dict[str, dict[str, str]]
"""The Secrets of a cluster, which are in no manifest: name, key, value."""


class Folder:
    """A volume whose files all change at once, by the swap of its link ``..data``.

    The visible names are links into ``..data``, which is a link to the folder of one version
    (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go, "the protocol for the atomic writer").
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._versions = count(1)
        root.mkdir(parents=True)

    def fill(self, files: Mapping[str, str], mode: int) -> None:
        """Put these files in the place of those that are there."""
        data = self._root / "..data"
        before = data.resolve() if data.is_symlink() else None
        version = self._root / f"..{next(self._versions)}"
        for name, text in files.items():
            path = version / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
        version.mkdir(exist_ok=True)
        swap = self._root / "..data_tmp"
        swap.symlink_to(version.name)
        swap.rename(data)
        wanted = {name.split("/")[0] for name in files}
        for name in wanted - {path.name for path in self._root.iterdir()}:
            (self._root / name).symlink_to(f"..data/{name}")
        for path in list(self._root.iterdir()):
            if not path.name.startswith("..") and path.name not in wanted:
                path.unlink()
        if before is not None:
            shutil.rmtree(before)


class Pod:
    """One container's view: what is mounted where, and its variables.

    Args:
        pod: the specification of the pod.
        root: a folder of this host under which its folders lie.
    """

    def __init__(self, pod: Object, root: Path) -> None:
        self._pod = pod
        self._container = pod["containers"][0]
        self._root = root
        self._folders: dict[str, Folder] = {}

    def mount(self, objects: list[Object], secrets: Secrets) -> None:
        """Fill its folders; called again, with what has changed since."""
        for volume in self._pod["volumes"]:
            for path in self._paths(volume["name"]):
                if "projected" not in volume:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                if volume["name"] not in self._folders:
                    self._folders[volume["name"]] = Folder(path)
                projected = volume["projected"]
                files = _files(projected["sources"], objects, secrets)
                self._folders[volume["name"]].fill(files, projected.get("defaultMode", 0o644))

    def path(self, inside: str) -> Path:
        """Where a path of the container lies on this host."""
        return self._root / inside.lstrip("/")

    def environ(self) -> dict[str, str]:
        """Its variables, with paths of mounted folders as paths of this host."""
        mounts = [each["mountPath"] for each in self._container["volumeMounts"]]
        return {
            name: str(self.path(value)) if value.startswith(tuple(mounts)) else value
            for name, value in environment(self._container).items()
        }

    def _paths(self, volume: str) -> list[Path]:
        return [
            self.path(each["mountPath"])
            for each in self._container["volumeMounts"]
            if each["name"] == volume
        ]


def _files(sources: list[Object], objects: list[Object], secrets: Secrets) -> dict[str, str]:
    """The files of a projected volume.

    Raises:
        KeyError: a Secret, or a key of it, is missing; a pod would not start.
    """
    files: dict[str, str] = {}
    for source in sources:
        if "configMap" in source:
            kept = source["configMap"]
            data = find(objects, "ConfigMap", kept["name"])["data"]
        else:
            kept = source["secret"]
            if kept.get("optional") and kept["name"] not in secrets:
                continue
            data = secrets[kept["name"]]
        items = kept.get("items", [{"key": key, "path": key} for key in data])
        files.update({item["path"]: data[item["key"]] for item in items})
    return files
