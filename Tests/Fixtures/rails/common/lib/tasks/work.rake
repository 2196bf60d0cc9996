# SPDX-License-Identifier: Apache-2.0
desc "The worker: takes a job out of the queue in the database, does it, takes the next"
task work: :environment do
  # SIGTERM lets the job that is under way end.
  told = false
  trap("TERM") { told = true }
  until told
    took = Job.transaction do
      job = Job.where(done_at: nil).order(:id).lock("FOR UPDATE SKIP LOCKED").first
      job&.update!(done_by: Bookshelf::RELEASE, done_at: Time.now)
    end
    sleep 0.2 unless took
  end
end
