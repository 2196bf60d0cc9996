# SPDX-License-Identifier: Apache-2.0
class Job < ActiveRecord::Base
end
