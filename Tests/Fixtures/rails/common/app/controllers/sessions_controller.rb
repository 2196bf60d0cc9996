# SPDX-License-Identifier: Apache-2.0
class SessionsController < ApplicationController
  def new
  end

  # Without a password: what is tried with this site is its session.
  def create
    user = User.create_or_find_by!(name: params[:username])
    reset_session
    session[:user_id] = user.id
    redirect_to "/"
  end
end
