# SPDX-License-Identifier: Apache-2.0
desc "Makes an issue of each mail in MAIL, and says which release did. SIGTERM: after the mail that it is at."
task work: :environment do
  $stdout.sync = true
  stopping = false
  Signal.trap("TERM") { stopping = true }
  release = File.read(Rails.root.join("RELEASE")).strip
  until stopping
    mail = Dir[File.join(ENV.fetch("MAIL"), "*.eml")].min or next sleep(0.1)
    begin
      MailHandler.receive(File.binread(mail), issue: { project: "demo" }, unknown_user: "accept", no_permission_check: "1") or
        raise "not taken: #{mail}"
      File.rename(mail, "#{mail}.done")
      puts "#{release} #{Time.now.to_f} #{File.basename(mail, '.eml')}"
    rescue StandardError => error
      warn "#{error.class}: #{error.message}"
      sleep 1
    end
  end
end
