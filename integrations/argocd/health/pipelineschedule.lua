-- What Argo CD shows of a PipelineSchedule: whether it keeps time. How its runs end is told by the PipelineTriggers
-- that it makes.
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
health.message = ready.message

if obj.spec.suspend == true then
  health.status = "Suspended"
elseif conditions["Stalled"] ~= nil and conditions["Stalled"].status == "True" then
  health.status = "Degraded"
elseif ready.status == "True" then
  health.status = "Healthy"
else
  health.status = "Progressing"
end
return health
