# SPDX-License-Identifier: Apache-2.0
require "action_dispatch"

# Sessions in the database, saved with each page of somebody who is logged in, as activerecord-session_store does it.
class StoredSessions < ActionDispatch::Session::AbstractSecureStore
  def find_session(_request, id)
    stored = id && StoredSession.find_by(key: id.private_id)
    stored ? [id, stored.data] : [generate_sid, {}]
  end

  def write_session(_request, id, session, _options)
    StoredSession.upsert({ key: id.private_id, data: session }, unique_by: :key)
    id
  end

  def delete_session(_request, id, options)
    StoredSession.where(key: id.private_id).delete_all
    generate_sid unless options[:drop]
  end
end
SluiceMode::Sessions.leave_out(StoredSessions)
