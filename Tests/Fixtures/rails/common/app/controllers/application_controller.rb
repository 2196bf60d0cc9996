# SPDX-License-Identifier: Apache-2.0
class ApplicationController < ActionController::Base
  before_action :note_visit
  after_action { response.headers["X-Read-Only"] = SluiceMode.read_only?.to_s }
  helper_method :current_user

  private

  def current_user
    @current_user ||= session[:user_id] && User.find_by(id: session[:user_id])
  end

  # Who reads writes: left out while the site is read-only.
  def note_visit
    SluiceMode.unless_read_only { current_user&.touch(:last_seen_at) }
  end

  def require_user
    redirect_to "/login/" unless current_user
  end
end
