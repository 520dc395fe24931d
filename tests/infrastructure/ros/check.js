// Reads a ROS template without functions, as JSON; prints what the official library makes of each part of it, or its error.
// The library writes only what it knows: what is missing in its answer does not exist in ROS.
'use strict'

const core = require('@alicloud/ros-cdk-core')
const libraries = { RAM: require('@alicloud/ros-cdk-ram') }

// The library's names begin with a small letter; capitals within a name differ, too (RAM, ram).
function lenient (value) {
  if (Array.isArray(value)) return value.map(lenient)
  if (value === null || typeof value !== 'object') return value
  const inner = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, lenient(part)]))
  const real = name => typeof name === 'string' && Object.keys(inner).find(key => key.toLowerCase() === name.toLowerCase())
  return new Proxy(inner, { get: (target, name) => target[real(name) || name] })
}

function resource (stack, id, { Type, Properties }) {
  const kinds = Object.values(libraries[Type.split('::')[1]] || {})
  const Kind = kinds.find(kind => kind.ROS_RESOURCE_TYPE_NAME === Type)
  if (!Kind) throw new Error(`${Type} does not exist`)
  const made = new Kind(stack, id, lenient(Properties), true)
  const attributes = Object.keys(made).filter(name => name.startsWith('attr')).map(name => name.slice(4))
  return { properties: made.renderProperties(made.rosProperties), attributes }
}

function parameter (stack, id, given) {
  const props = new Proxy(given, { get: (_, name) => given[name === 'defaultValue' ? 'Default' : name[0].toUpperCase() + name.slice(1)] })
  return new core.RosParameter(stack, id, props)._toRosTemplate().Parameters[id]
}

const template = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const stack = new core.Stack(new core.App(), 'stack', { enableResourcePropertyConstraint: true })
const made = {}
for (const [section, make] of [['Resources', resource], ['Parameters', parameter]]) {
  made[section] = {}
  for (const [id, given] of Object.entries(template[section])) {
    try { made[section][id] = make(stack, id, given) } catch (error) { made[section][id] = { error: error.message } }
  }
}
console.log(JSON.stringify(made))
