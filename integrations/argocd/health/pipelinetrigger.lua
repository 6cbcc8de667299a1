-- What Argo CD shows of a PipelineTrigger. As a hook, Healthy lets the sync go on and Degraded fails it.
local health = {}
local status = obj.status or {}

if status.observedGeneration ~= obj.metadata.generation then
  health.status = "Progressing"
  health.message = "waiting for Pipekick to look at this version"
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions["Ready"] or {}
health.message = status.message or ready.message

if status.phase == "Suspended" or ready.reason == "FirstSight" or ready.reason == "PipelineManual" then
  -- A person decides when it goes on.
  health.status = "Suspended"
elseif conditions["Stalled"] ~= nil and conditions["Stalled"].status == "True" then
  health.status = "Degraded"
elseif ready.status == "True" then
  health.status = "Healthy"
else
  -- Also while a Secret is missing: it may come with the next wave, and Degraded would end the sync.
  health.status = "Progressing"
end
return health
