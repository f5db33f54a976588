{ from: 'lib', team: std.extVar('team') }
