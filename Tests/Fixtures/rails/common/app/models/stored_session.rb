# SPDX-License-Identifier: Apache-2.0
class StoredSession < ActiveRecord::Base
end
