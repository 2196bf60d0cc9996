# SPDX-License-Identifier: Apache-2.0
class HealthController < ActionController::Base
  # As this release knows the table. No model is asked: it would keep the columns that it has seen first, and this page is asked
  # before the migration as well.
  def database
    ActiveRecord::Base.connection.select_value("SELECT count(#{Book::AUTHOR}) FROM books")
    render plain: "ok\n"
  end

  def alive
    render plain: "ok\n"
  end
end
