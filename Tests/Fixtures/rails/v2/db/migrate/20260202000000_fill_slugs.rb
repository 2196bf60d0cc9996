# SPDX-License-Identifier: Apache-2.0
class FillSlugs < ActiveRecord::Migration[6.1]
  class Book < ActiveRecord::Base
  end

  # Ruby between the statements, as many migrations have it.
  def up
    Book.reset_column_information
    Book.find_each { |book| book.update_columns(slug: "#{book.id}-#{book.title.parameterize}") }
  end

  def down
  end
end
