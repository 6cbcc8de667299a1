local suspended = obj.spec.suspend == true

actions = {}
actions["fire"] = { ["disabled"] = suspended }
actions["suspend"] = { ["disabled"] = suspended }
actions["resume"] = { ["disabled"] = not suspended }
return actions
