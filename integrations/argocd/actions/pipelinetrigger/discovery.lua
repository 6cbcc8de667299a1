local active = { Pending = true, Firing = true, Unknown = true, Running = true, Retrying = true }
local retryable = { Failed = true, Canceled = true }
local status = obj.status or {}
local suspended = obj.spec.suspend == true

actions = {}
actions["fire"] = { ["disabled"] = suspended }
actions["retry"] = { ["disabled"] = status.run == nil or retryable[status.phase] ~= true }
actions["cancel"] = { ["disabled"] = status.run == nil or active[status.phase] ~= true }
actions["suspend"] = { ["disabled"] = suspended }
actions["resume"] = { ["disabled"] = not suspended }
return actions
