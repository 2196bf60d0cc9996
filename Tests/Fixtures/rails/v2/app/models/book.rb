# SPDX-License-Identifier: Apache-2.0
class Book < ActiveRecord::Base
  AUTHOR = :written_by
end
