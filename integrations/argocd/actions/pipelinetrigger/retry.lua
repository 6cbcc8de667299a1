-- Names the run that is meant; what stands behind # makes the value new, to ask again.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["pipekick.dev/retry"] = string.format("%d#%s", obj.status.run.seq, os.date("!%Y-%m-%dT%XZ"))
return obj
