// A function whose arguments are the top-level ones.
local sizes = std.extVar('sizes');
local labels = import 'labels.libsonnet';

function(env, replicas) [
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web-' + env, labels: labels },
    spec: { replicas: replicas, size: sizes.large },
  },
  null,
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'words' },
    data: { text: importstr 'words.txt' },
  },
  { apiVersion: 'v1', kind: 'List', items: [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'listed' } }] },
]
