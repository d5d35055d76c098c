"""The kinds of scene event, one row each. On the hook's path: imports nothing.

To add a kind, add a row here, its name to ``jobs.Event``, its trigger to the manifest, and how it combines with
others to ``coalesce.merged``.
"""

# Name → (the hook of Stash that reports it, the type of the webhook message that carries it).
EVENTS = {
    "create": ("Scene.Create.Post", "scene.created"),
    "update": ("Scene.Update.Post", "scene.updated"),
    "destroy": ("Scene.Destroy.Post", "scene.destroyed"),
}
