# SPDX-License-Identifier: Apache-2.0
# Precompiled with the bundle. Redmine would do it again at a start that finds an asset younger than their list, and times are not kept.
Rails.application.config.assets.redmine_detect_update = false
