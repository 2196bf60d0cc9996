# SPDX-License-Identifier: Apache-2.0
class WrittenByAndLoans < ActiveRecord::Migration[6.1]
  def change
    rename_column :books, :author, :written_by
    add_column :books, :slug, :string, null: false, default: ""
    create_table :loans do |t|
      t.references :book, null: false, foreign_key: true
      t.string :reader, null: false
    end
  end
end
