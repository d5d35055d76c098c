"""Resolvers of Stash's queries."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.standin.stash import filters
from tests.standin.stash.backend import Args, Backend, answers
from tests.standin.stash.jobs import Job
from tests.standin.stash.library import Scene, StashError, identities, identity
from tests.standin.stash.plugins import Caller

VERSION = {"version": "v0.30.1", "hash": "standin00", "build_time": "2026-01-11 07:07:53"}
_LEVELS = {"warning": "Warning", "error": "Error", "info": "Info"}


class Queries:
    """The resolvers; they take (parent, caller, arguments)."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @answers("Query.version")
    def version(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return VERSION

    @answers("Query.systemStatus")
    def system_status(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        folder = self._backend.config.config_dir
        return {
            "databaseSchema": 75,
            "databasePath": str(folder / "stash-go.sqlite"),
            "configPath": str(folder / "config.yml"),
            "appSchema": 75,
            "status": "OK",
            "os": sys.platform,
            "workingDir": str(Path.cwd()),
            "homeDir": str(Path.home()),
        }

    @answers("Query.configuration")
    def configuration(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        config = self._backend.config
        general = {
            "apiKey": config.api_key,
            "username": config.username,
            "maxSessionAge": config.max_session_age,
            "configFilePath": str(config.config_dir / "config.yml"),
            "pluginsPath": str(config.config_dir / "plugins"),
            "pythonPath": config.python,
            "logLevel": "Info",
            "stashes": [{"path": path, "excludeVideo": False, "excludeImage": False} for path in config.stashes],
        }
        return {"general": general}

    @answers("ConfigResult.plugins")
    def plugin_settings(self, _parent: Any, _caller: Caller, args: Args) -> Any:
        settings = self._backend.config.plugins
        include = args.get("include")
        if not include:
            return dict(settings)
        return {plugin: settings[plugin] for plugin in include if settings.get(plugin)}

    @answers("Query.stats")
    def stats(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        library = self._backend.library
        scenes = library.all()
        files = [f for s in scenes for f in s.files]
        return {
            "scene_count": len(scenes),
            "scenes_size": sum(f.size for f in files),
            "scenes_duration": sum(f.duration for f in files),
            "performer_count": library.count("performer"),
            "studio_count": library.count("studio"),
            "group_count": library.count("group"),
            "tag_count": library.count("tag"),
        }

    @answers("Query.plugins")
    def plugins(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return self._backend.plugins.all()

    @answers("Query.pluginTasks")
    def plugin_tasks(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        plugins = self._backend.plugins
        return [
            {"name": task.name, "description": task.description, "plugin": manifest}
            for manifest in plugins.all()
            if plugins.enabled(manifest.id)
            for task in manifest.tasks
        ]

    @answers("Query.findScene")
    def find_scene(self, _root: Any, caller: Caller, args: Args) -> Scene | None:
        library = self._backend.library
        if args.get("id") is not None:
            number = identity(args["id"])
            self._backend.faults.check(caller, [number])
            return library.find(number)
        checksum = args.get("checksum")
        if not checksum:
            return None
        return next((s for s in library.all() if any(f.fingerprint("md5") == checksum for f in s.files)), None)

    @answers("Query.findScenes")
    def find_scenes(self, _root: Any, caller: Caller, args: Args) -> Any:
        """A request by ids fails as a whole if an id is unknown or repeated."""
        library = self._backend.library
        ids = args.get("ids")
        numbers = _distinct(ids) if ids else args.get("scene_ids")
        if numbers:
            found = shown = [library.get(number) for number in numbers]
        else:
            find, criteria = args.get("filter") or {}, args.get("scene_filter") or {}
            found = filters.matching(library.all(), criteria, find.get("q") or "", library.now())
            shown = filters.page(found, find)
        self._backend.faults.check(caller, [s.id for s in shown])
        primary = [s.files[0] for s in found if s.files]
        return {
            "count": len(found),
            "duration": sum(f.duration for f in primary),
            "filesize": sum(f.size for f in primary),
            "scenes": shown,
        }

    @answers("Query.jobQueue")
    def job_queue(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        return [_job(job) for job in self._backend.jobs.queue()]

    @answers("Query.findJob")
    def find_job(self, _root: Any, _caller: Caller, args: Args) -> Any:
        job = self._backend.jobs.find(identity(args["input"]["id"]))
        return None if job is None else _job(job)

    @answers("Query.logs")
    def logs(self, _root: Any, _caller: Caller, _args: Args) -> Any:
        lines = self._backend.log.recent()
        return [{"time": line.at, "level": _LEVELS[line.level], "message": line.message} for line in lines]


def _distinct(ids: list[str]) -> list[int]:
    seen: set[str] = set()
    for text in ids:
        if text in seen:
            raise StashError(f"validating ids: duplicate id found: {text}")
        seen.add(text)
    return identities(ids)


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "description": job.description,
        "progress": job.progress[-1] if job.progress else None,
        "startTime": job.start_time,
        "endTime": job.end_time,
        "addTime": job.add_time,
        "error": job.error,
    }
