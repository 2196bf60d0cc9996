# SPDX-License-Identifier: Apache-2.0
class User < ActiveRecord::Base
end
