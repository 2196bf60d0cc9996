# SPDX-License-Identifier: Apache-2.0
class CreateShelf < ActiveRecord::Migration[6.1]
  def change
    create_table :books do |t|
      t.uuid :request_id, null: false, index: { unique: true }
      t.string :title, null: false
      t.string :author, null: false
      t.string :cover, null: false, default: ""
      t.timestamps
    end
    create_table :jobs do |t|
      t.string :name, null: false
      t.string :done_by, null: false, default: ""
      t.datetime :done_at
    end
    create_table :users do |t|
      t.string :name, null: false, index: { unique: true }
      t.datetime :last_seen_at
    end
    create_table :stored_sessions do |t|
      t.string :key, null: false, index: { unique: true }
      t.jsonb :data, null: false
    end
  end
end
