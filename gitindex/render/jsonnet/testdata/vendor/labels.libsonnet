(import '../lib/labels.libsonnet') + { from: 'vendor' }
