-- A value that was not there before asks for a run.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["pipekick.dev/fire"] = os.date("!%Y-%m-%dT%XZ")
return obj
