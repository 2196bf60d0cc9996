# SPDX-License-Identifier: Apache-2.0
class AddHoursToEstimates < ActiveRecord::Migration[7.2]
  def change
    add_column :estimates, :hours, :decimal
  end
end
