# SPDX-License-Identifier: Apache-2.0
# Redmine's own place for settings; read before its database.yml.
file = config.root.join(".env").to_s
File.foreach(file) { |line| ENV[$1] ||= $2 if line =~ /\A(\w+)=(.*)/ } if File.exist?(file)
config.action_dispatch.default_headers["X-Release"] = File.read(config.root.join("RELEASE")).strip
config.active_record.dump_schema_after_migration = false
