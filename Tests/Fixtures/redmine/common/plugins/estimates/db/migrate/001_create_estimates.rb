# SPDX-License-Identifier: Apache-2.0
class CreateEstimates < ActiveRecord::Migration[5.2]
  def change
    create_table(:estimates) { |table| table.integer :issue_id, null: false }
  end
end
